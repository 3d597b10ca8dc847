//! Limits: who tries too often waits, is told how long, and learns nothing by it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Answer, Kind, PASSWORD, Tokens, World};

/// As shipped, behind a proxy, so that a test can come from many networks.
pub(crate) const AS_SHIPPED: [(&str, &str); 8] = [
    ("AUTH__HTTP__TRUSTED_PROXIES", "127.0.0.1"),
    ("AUTH__LIMITS__LOGIN_FREE", "5"),
    ("AUTH__LIMITS__ACCOUNT_FREE", "100"),
    ("AUTH__LIMITS__NAMES_FREE", "20"),
    ("AUTH__LIMITS__NETWORK_BURST", "30"),
    ("AUTH__LIMITS__REGISTER_BURST", "10"),
    ("AUTH__LIMITS__REFRESH_BURST", "120"),
    ("AUTH__LIMITS__FORGED_BURST", "60"),
];

/// Some limits on, the others as in every other test.
async fn world(on: &[(&str, &str)]) -> World {
    let settings: Vec<_> = [AS_SHIPPED[0]].iter().chain(on).copied().collect();
    World::start_with(Kind::Sqlite, &settings).await
}

/// Posts from another network.
pub(crate) async fn post_from(world: &World, from: &str, path: &str, body: &Value) -> Answer {
    let request = world.http.post(format!("{}{path}", world.auth)).header("x-forwarded-for", from);
    Answer::to(request.json(body)).await
}

/// Tries to log in from another network.
pub(crate) async fn attempt(world: &World, from: &str, name: &str, password: &str) -> Answer {
    post_from(world, from, "/login", &json!({"username": name, "password": password})).await
}

/// What is asked, and is to be refused, is answered as if no time had passed since what was admitted
/// before, however busy this machine is: under a clock that was set back a wait is as long as it can be.
pub(crate) async fn at_once(world: &World, asked: impl Future<Output = Answer>) -> Answer {
    // Not so far that a token seems to be of the future.
    less(world, 25, asked).await
}

/// The same where so many seconds at the most can have passed: of a limit that gives back one attempt a
/// second, more would look like attempts that nobody made.
async fn less(world: &World, seconds: i64, asked: impl Future<Output = Answer>) -> Answer {
    world.clock.advance(-seconds);
    let answer = asked.await;
    world.clock.advance(seconds);
    answer
}

/// Checks that an answer tells to wait so many seconds because of a policy.
#[track_caller]
pub(crate) fn assert_limited(answer: &Answer, policy: &str, seconds: u64) {
    answer.assert_problem(429, "rate-limited");
    assert_eq!(answer.header("retry-after"), Some(seconds.to_string().as_str()));
    let state = format!("\"{policy}\";r=0;t={seconds}");
    assert_eq!(answer.header("ratelimit"), Some(state.as_str()));
    let told = answer.header("ratelimit-policy").expect("a policy");
    assert!(told.starts_with(&format!("\"{policy}\";q=")), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_grow_are_told_honestly_and_end_with_the_right_password() {
    let world = world(&[AS_SHIPPED[1]]).await;
    world.register("ada").await;
    let (here, wrong) = ("198.51.100.7", "not the right sentence");
    for _ in 0..5 {
        attempt(&world, here, "ada", wrong).await.assert_problem(401, "invalid-credentials");
    }
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        // However often one asks meanwhile, and with whatever password.
        let asked = Instant::now();
        let refused = at_once(&world, attempt(&world, here, "Ada", PASSWORD)).await;
        assert!(asked.elapsed() >= Duration::from_millis(490), "refusals are held back");
        assert_limited(&refused, "login", seconds);
        assert_eq!(refused.header("ratelimit-policy"), Some("\"login\";q=5;w=3600"));
        world.clock.advance(i64::try_from(seconds).unwrap());
        attempt(&world, here, "ada", wrong).await.assert_problem(401, "invalid-credentials");
    }
    // Elsewhere nothing of it counts.
    Tokens::of(&attempt(&world, "198.51.100.8", "ada", PASSWORD).await);
    world.clock.advance(900);
    let tokens = Tokens::of(&attempt(&world, here, "ada", PASSWORD).await);
    // With a session on this network they would have attempts of their own.
    assert_eq!(world.logout(&tokens.refresh, "current").await.status, 204);
    for _ in 0..5 {
        attempt(&world, here, "ada", wrong).await.assert_problem(401, "invalid-credentials");
    }
    assert_limited(&at_once(&world, attempt(&world, here, "ada", wrong)).await, "login", 1);
    // And all is forgotten after an hour.
    world.clock.advance(3600);
    for _ in 0..5 {
        attempt(&world, here, "ada", wrong).await.assert_problem(401, "invalid-credentials");
    }
    let metrics = Answer::to(world.http.get(format!("{}/metrics", world.internal))).await;
    assert!(metrics.text.contains("latchkey_limited_total{policy=\"login\"}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_at_once_do_not_slip_through_together() {
    let world = world(&[AS_SHIPPED[1]]).await;
    world.register("ada").await;
    let all = (0..40).map(|_| attempt(&world, "198.51.100.7", "ada", "not the right sentence"));
    let answers = futures_util::future::join_all(all).await;
    let tried = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((5..=6).contains(&tried), "{tried}, one more if a second went by");
}

/// The answers to names that exist, that do not, and that nobody can have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_does_not_tell_who_exists() {
    let world = World::start_with(Kind::Sqlite, &AS_SHIPPED).await;
    let body = json!({"username": "ada", "password": PASSWORD, "email": "ada@example.com"});
    assert_eq!(post_from(&world, "192.0.2.1", "/register", &body).await.status, 201);
    let names = ["ada", "ada@example.com", "nobody", "nobody@example.com", " no name ", ""];
    let mut all = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let mut answers = Vec::new();
        for number in 0..7 {
            let from = format!("198.51.100.{at}");
            let tried = attempt(&world, &from, name, "not the right sentence");
            // Those that are to be refused: set back, the others would only have been earlier.
            let answer = if number < 5 { tried.await } else { at_once(&world, tried).await };
            answers.push(answer.told());
        }
        all.push(answers);
    }
    assert_eq!(
        all[0].iter().map(|it| it.0).collect::<Vec<_>>(),
        [401, 401, 401, 401, 401, 429, 429]
    );
    for (name, answers) in names.iter().zip(&all) {
        assert_eq!(answers, &all[0], "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_names_from_one_network_are_slowed_down() {
    let world = world(&[AS_SHIPPED[1], AS_SHIPPED[3]]).await;
    world.register("ada").await;
    let here = "2001:db8:1:2::1";
    for at in 0..20 {
        let name = format!("somebody{at}");
        assert_eq!(attempt(&world, here, &name, PASSWORD).await.status, 401);
    }
    // Another address of the same subscriber.
    let there = "2001:db8:1:2:ffff::9";
    assert_limited(
        &at_once(&world, attempt(&world, there, "ada", PASSWORD)).await,
        "login-names",
        1,
    );
    // A name that was counted already is no new one, and the neighbours are not meant.
    assert_eq!(attempt(&world, here, "somebody3", PASSWORD).await.status, 401);
    Tokens::of(&attempt(&world, "2001:db8:1:3::1", "ada", PASSWORD).await);
    world.clock.advance(1);
    Tokens::of(&attempt(&world, here, "ada", PASSWORD).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_from_one_network_are_limited_and_successes_are_not() {
    let world = world(&[AS_SHIPPED[4]]).await;
    world.register("ada").await;
    for _ in 0..40 {
        Tokens::of(&attempt(&world, "198.51.100.7", "ada", PASSWORD).await);
    }
    for at in 0..30 {
        let name = format!("somebody{at}");
        assert_eq!(attempt(&world, "198.51.100.7", &name, PASSWORD).await.status, 401);
    }
    let refused = at_once(&world, attempt(&world, "198.51.100.7", "bob", PASSWORD)).await;
    assert_limited(&refused, "login-network", 3);
    assert_eq!(refused.header("ratelimit-policy"), Some("\"login-network\";q=30;w=90"));
    // What is wrong with a request is no attempt at a password.
    let bad = json!({"username": "ada", "password": PASSWORD, "scope": "no such"});
    for _ in 0..40 {
        assert_eq!(post_from(&world, "198.51.100.8", "/login", &bad).await.status, 400);
    }
    Tokens::of(&attempt(&world, "198.51.100.8", "ada", PASSWORD).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_are_limited_for_each_network() {
    let world = world(&[AS_SHIPPED[5]]).await;
    let register = async |from, name: &str| {
        let body = json!({"username": name, "password": PASSWORD});
        post_from(&world, from, "/register", &body).await
    };
    // What was refused for its form is no registration; what tells that a name is taken counts.
    for _ in 0..15 {
        assert_eq!(register("198.51.100.7", "not@a name").await.status, 400);
    }
    for at in 0..9 {
        assert_eq!(register("198.51.100.7", &format!("user{at}")).await.status, 201);
    }
    assert_eq!(register("198.51.100.7", "user1").await.status, 409);
    assert_limited(&at_once(&world, register("198.51.100.7", "user1")).await, "register", 180);
    assert_eq!(register("198.51.100.8", "late").await.status, 201);
    world.clock.advance(180);
    assert_eq!(register("198.51.100.7", "later").await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_the_present_password_are_limited_for_each_session() {
    let world = world(&[AS_SHIPPED[1]]).await;
    let (first, second) = (world.newcomer("ada").await, world.login("ada").await);
    let change = async |tokens: &Tokens, present: &str| {
        let body = json!({
            "current_password": present, "new_password": "another quite ordinary sentence"});
        world.post_as(&tokens.access, "/password", &body).await
    };
    for _ in 0..5 {
        change(&first, "not the right sentence").await.assert_problem(401, "invalid-credentials");
    }
    assert_limited(&at_once(&world, change(&first, PASSWORD)).await, "password", 1);
    let wrong = change(&second, "not the right sentence").await;
    wrong.assert_problem(401, "invalid-credentials");
    world.clock.advance(1);
    assert_eq!(change(&first, PASSWORD).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_are_limited_but_nobody_suffers_from_their_neighbours() {
    let world = world(&[("AUTH__LIMITS__FORGED_BURST", "6")]).await;
    let tokens = world.newcomer("ada").await;
    let mut forged = tokens.refresh.clone();
    forged.replace_range(forged.len() - 5.., "AAAAA");
    for _ in 0..3 {
        world.refresh(&forged).await.assert_problem(401, "invalid-token");
        world.get_as("no.access.token", "/me").await.assert_problem(401, "invalid-token");
    }
    assert_limited(&less(&world, 2, world.refresh(&forged)).await, "tokens", 1);
    assert_limited(
        &less(&world, 2, world.get_as("no.access.token", "/sessions")).await,
        "tokens",
        1,
    );
    assert_eq!(world.get_as(&tokens.access, "/me").await.status, 200);
    let next = Tokens::of(&world.refresh(&tokens.refresh).await);
    // Logging out is never refused.
    assert_eq!(world.logout(&forged, "current").await.status, 204);
    assert_eq!(world.logout(&next.refresh, "all").await.status, 204);
    // A token that was good once is an honest client's.
    for _ in 0..10 {
        world.get_as(&next.access, "/me").await.assert_problem(401, "invalid-token");
    }
}

/// F-C4: a client that writes more than one space, or the scheme in another case, forges nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_token_is_good_and_not_counted_as_forged_in_every_legal_spelling() {
    let world = world(&[("AUTH__LIMITS__FORGED_BURST", "2")]).await;
    let tokens = world.newcomer("ada").await;
    let get = |value: String| {
        let request = world.http.get(format!("{}/me", world.auth));
        Answer::to(request.header("authorization", value))
    };
    for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer  ", "bearer   "] {
        for _ in 0..3 {
            let answer = get(format!("{scheme}{}", tokens.access)).await;
            assert_eq!(answer.status, 200, "{scheme}: {}", answer.text);
            let trailing = get(format!("{scheme}{}  ", tokens.access)).await;
            assert_eq!(trailing.status, 200, "{scheme}: {}", trailing.text);
        }
    }
    for _ in 0..2 {
        get("Bearer  no.access.token".to_owned()).await.assert_problem(401, "invalid-token");
    }
    let limited = less(&world, 2, get("bearer   no.access.token".to_owned())).await;
    assert_limited(&limited, "tokens", 1);
    let logout = world.http.post(format!("{}/logout", world.auth));
    let logout = logout.header("authorization", format!("bearer  {}", tokens.access));
    assert_eq!(Answer::to(logout).await.status, 204);
    world.until_refused(&tokens.access).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_are_limited_for_each_session_and_logouts_are_not() {
    let world = world(&[("AUTH__LIMITS__REFRESH_BURST", "5")]).await;
    let (mut first, second) = (world.newcomer("ada").await, world.login("ada").await);
    for _ in 0..5 {
        first = Tokens::of(&world.refresh(&first.refresh).await);
    }
    assert_limited(&less(&world, 2, world.refresh(&first.refresh)).await, "refresh", 1);
    Tokens::of(&world.refresh(&second.refresh).await);
    world.clock.advance(1);
    first = Tokens::of(&world.refresh(&first.refresh).await);
    assert_eq!(less(&world, 2, world.refresh(&first.refresh)).await.status, 429);
    assert_eq!(world.logout(&first.refresh, "current").await.status, 204);
}

/// N-T06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_cannot_choose_what_it_is_counted_by() {
    let world = World::start_with(Kind::Sqlite, &[AS_SHIPPED[1]]).await;
    for at in 0..5 {
        let from = format!("198.51.100.{at}");
        assert_eq!(attempt(&world, &from, "ada", PASSWORD).await.status, 401);
    }
    assert_limited(
        &at_once(&world, attempt(&world, "198.51.100.99", "ada", PASSWORD)).await,
        "login",
        1,
    );

    // Behind a proxy neither: what it writes itself stands before what the proxy appends.
    let world = World::start_with(Kind::Sqlite, &[AS_SHIPPED[0], AS_SHIPPED[1]]).await;
    for at in 0..5 {
        let from = format!("192.0.2.{at}, 198.51.100.7");
        assert_eq!(attempt(&world, &from, "ada", PASSWORD).await.status, 401);
    }
    assert_limited(
        &at_once(&world, attempt(&world, "198.51.100.7", "ada", PASSWORD)).await,
        "login",
        1,
    );
    assert_eq!(attempt(&world, "192.0.2.1", "ada", PASSWORD).await.status, 401);
}
