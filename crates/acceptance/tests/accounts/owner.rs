//! N-U06: strangers cannot lock an owner out.

use claims::refresh_token;
use futures_util::future::join_all;
use reqwest::header::{AUTHORIZATION, COOKIE};
use serde_json::json;
use testbed::{Answer, Kind, PASSWORD, Tokens, World};

use crate::limits::{AS_SHIPPED, assert_limited, at_once, attempt, post_from};
use crate::support::cookie_token;

const WRONG: &str = "not the right sentence";

/// Few attempts from everywhere, so that a test can use them up.
async fn world(kind: Kind) -> World {
    let mut settings = AS_SHIPPED;
    settings[2].1 = "10";
    World::start_with(kind, &settings).await
}

/// So many strangers, each from a network of its own, that everybody new waits as long as can be.
async fn besieged(world: &World, name: &str) {
    for at in 0.. {
        let from = format!("203.0.{}.1", 200 + at);
        let tried = attempt(world, &from, name, WRONG);
        let (answer, expected) = if at < 10 || at % 2 == 1 {
            (tried.await, 401)
        } else {
            (at_once(world, tried).await, 429)
        };
        assert_eq!(answer.status, expected, "{at}");
        if let Some(wait) = answer.header("retry-after") {
            let wait = wait.parse().expect("seconds");
            assert_limited(&answer, "login-account", wait);
            let policy = answer.header("ratelimit-policy");
            assert_eq!(policy, Some("\"login-account\";q=10;w=3600"));
            if wait == 60 {
                return;
            }
            world.clock.advance(i64::try_from(wait).expect("a short time"));
        }
    }
}

/// Logs in from a network that nobody has been seen on, with an access token to show.
async fn with_bearer(world: &World, from: &str, access: &str, password: &str) -> Answer {
    with_credential(world, from, &format!("Bearer {access}"), password).await
}

async fn with_credential(world: &World, from: &str, credential: &str, password: &str) -> Answer {
    let request = world.http.post(format!("{}/login", world.auth)).header("x-forwarded-for", from);
    let body = json!({"username": "Ada", "password": password});
    Answer::to(request.header(AUTHORIZATION, credential).json(&body)).await
}

async fn with_cookie(world: &World, from: &str, cookie: Option<&str>) -> Answer {
    let mut request = world.http.post(format!("{}/login", world.auth));
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, format!("{}={cookie}", refresh_token::COOKIE));
    }
    let body = json!({"username": "ada", "password": PASSWORD, "transport": "cookie"});
    let request = request.header("x-forwarded-for", from).header("x-latchkey", "1");
    Answer::to(request.json(&body)).await
}

async fn an_owner_gets_in_whatever_strangers_do(kind: Kind) {
    let world = world(kind).await;
    for name in ["ada", "bob"] {
        let body = json!({"username": name, "password": PASSWORD});
        assert_eq!(post_from(&world, "192.0.2.1", "/register", &body).await.status, 201);
    }
    let body = Tokens::of(&attempt(&world, "198.51.100.1", "ada", PASSWORD).await);
    let cookie = cookie_token(&with_cookie(&world, "198.51.100.2", None).await);
    let bob = Tokens::of(&attempt(&world, "198.51.100.3", "bob", PASSWORD).await);
    besieged(&world, "ada").await;

    // Each of the three ways, also where strangers have used up the network's own attempts.
    let next = with_cookie(&world, "203.0.113.20", Some(&cookie)).await;
    let cookie = cookie_token(&next);
    let got_in = with_bearer(&world, "203.0.113.21", &body.access, PASSWORD).await;
    let third = Tokens::of(&got_in);
    let spaced = format!("bearer   {}", body.access);
    Tokens::of(&with_credential(&world, "203.0.113.26", &spaced, PASSWORD).await);
    Tokens::of(&attempt(&world, "198.51.100.1", "ada", PASSWORD).await);
    for at in 0..5 {
        let seen = attempt(&world, "198.51.100.1", "ada", WRONG).await.status;
        assert_eq!(seen, 401, "{at}");
    }
    let neighbour = at_once(&world, attempt(&world, "198.51.100.1", "ada", PASSWORD)).await;
    assert_eq!(neighbour.status, 429);
    cookie_token(&with_cookie(&world, "198.51.100.1", Some(&cookie)).await);
    Tokens::of(&with_bearer(&world, "198.51.100.1", &body.access, PASSWORD).await);

    // Somebody else's session shows nothing, nor one that is over, nor one that never was.
    let bobs = with_bearer(&world, "203.0.113.22", &bob.access, PASSWORD).await;
    assert_eq!(bobs.status, 429);
    assert_eq!(world.logout(&third.refresh, "current").await.status, 204);
    let over = with_bearer(&world, "203.0.113.23", &third.access, PASSWORD).await;
    assert_eq!(over.status, 429);
    assert_eq!(with_bearer(&world, "203.0.113.24", "no.access.token", PASSWORD).await.status, 429);

    // Whoever has a session may guess as often as anybody, and no more.
    for _ in 0..5 {
        let wrong = with_bearer(&world, "203.0.113.25", &body.access, WRONG).await;
        wrong.assert_problem(401, "invalid-credentials");
    }
    let guessed = with_bearer(&world, "203.0.113.25", &body.access, PASSWORD);
    let guessed = at_once(&world, guessed).await;
    assert_eq!(guessed.status, 429);

    // An owner who comes from nowhere known waits, and then gets in.
    let refused = attempt(&world, "203.0.113.30", "ada", PASSWORD).await;
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    world.clock.advance(wait);
    Tokens::of(&attempt(&world, "203.0.113.30", "ada", PASSWORD).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_gets_in_whatever_strangers_do_on_postgres() {
    an_owner_gets_in_whatever_strangers_do(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_gets_in_whatever_strangers_do_on_sqlite() {
    an_owner_gets_in_whatever_strangers_do(Kind::Sqlite).await;
}

/// Strangers who try by these names from this network, all at once, and are refused.
async fn flood(world: &World, from: &str, names: impl Iterator<Item = String>) {
    let names: Vec<_> = names.collect();
    let all = join_all(names.iter().map(|name| attempt(world, from, name, WRONG))).await;
    let refused = all.iter().filter(|answer| answer.status == 429).count();
    assert!(refused * 10 >= names.len() * 9, "{refused} of {}", names.len());
}

/// One address that names everybody, while very many networks besiege one name.
async fn an_owner_gets_in_while_a_stranger_names_everybody(kind: Kind) {
    let mut settings = AS_SHIPPED;
    settings[2].1 = "10";
    settings[4].1 = "5";
    let world = World::start_with(kind, &settings).await;
    let body = json!({"username": "ada", "password": PASSWORD});
    assert_eq!(post_from(&world, "192.0.2.1", "/register", &body).await.status, 201);
    let body = Tokens::of(&attempt(&world, "198.51.100.1", "ada", PASSWORD).await);
    let mut cookie = cookie_token(&with_cookie(&world, "198.51.100.2", None).await);
    besieged(&world, "ada").await;
    for at in 0..5 {
        let answer = attempt(&world, "203.0.113.77", &format!("nobody{at}"), WRONG).await;
        assert_eq!(answer.status, 401);
    }
    let networks: Vec<_> = (0..60).map(|at| format!("203.0.{}.1", 200 + at % 30)).collect();
    join_all(networks.iter().map(|from| attempt(&world, from, "ada", WRONG))).await;
    flood(&world, "203.0.113.77", (0..300).map(|at| format!("somebody{at}"))).await;
    // As if no time had passed since: what somebody has used up for all is not there again.
    world.clock.advance(-25);
    for at in 0..22 {
        let answer = attempt(&world, "198.51.100.1", "ada", PASSWORD).await;
        assert_eq!(answer.status, 200, "by the network, {at}: {}", answer.text);
        let answer = with_bearer(&world, "203.0.113.20", &body.access, PASSWORD).await;
        assert_eq!(answer.status, 200, "by the access token, {at}: {}", answer.text);
        let answer = with_cookie(&world, "203.0.113.21", Some(&cookie)).await;
        assert_eq!(answer.status, 200, "by the cookie, {at}: {}", answer.text);
        cookie = cookie_token(&answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_gets_in_while_a_stranger_names_everybody_on_postgres() {
    an_owner_gets_in_while_a_stranger_names_everybody(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_gets_in_while_a_stranger_names_everybody_on_sqlite() {
    an_owner_gets_in_while_a_stranger_names_everybody(Kind::Sqlite).await;
}

/// The stranger sits in the owner's own network, and has used up what there is for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_gets_in_while_a_stranger_beside_them_names_everybody() {
    let mut settings = AS_SHIPPED;
    settings[4].1 = "5";
    let world = World::start_with(Kind::Sqlite, &settings).await;
    let body = json!({"username": "ada", "password": PASSWORD});
    assert_eq!(post_from(&world, "192.0.2.1", "/register", &body).await.status, 201);
    Tokens::of(&attempt(&world, "198.51.100.1", "ada", PASSWORD).await);
    for at in 0..5 {
        let answer = attempt(&world, "198.51.100.1", &format!("nobody{at}"), WRONG).await;
        assert_eq!(answer.status, 401);
    }
    flood(&world, "198.51.100.1", (0..300).map(|at| format!("somebody{at}"))).await;
    world.clock.advance(-25);
    for at in 0..5 {
        let answer = attempt(&world, "198.51.100.1", "ada", PASSWORD).await;
        assert_eq!(answer.status, 200, "{at}: {}", answer.text);
    }
}
