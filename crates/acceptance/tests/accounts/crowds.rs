//! Many at the same moment: honest ones are not refused for each other, and guesses do not slip through.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::json;
use testbed::{Answer, Kind, PASSWORD, Tokens, World};

use crate::limits::{AS_SHIPPED, attempt, post_from};

const WRONG: &str = "not the right sentence";

/// As shipped, with hashes that take long enough for a crowd to be there at once, and with as much patience
/// as may be set: what is asked is who gets in, and not how soon a busy machine hashes.
async fn world(kind: Kind, changed: &[(&str, &str)]) -> World {
    let slow = [
        ("AUTH__PASSWORDS__MEMORY_KIB", "8192"),
        ("AUTH__PASSWORDS__ITERATIONS", "2"),
        ("AUTH__PASSWORDS__MAX_WAIT_SECONDS", "15"),
    ];
    let settings: Vec<_> = AS_SHIPPED.iter().chain(&slow).chain(changed).copied().collect();
    World::start_with(kind, &settings).await
}

/// Asks as an honest program does that is told that the machine is busy: it waits as it is told and asks
/// again. Only a refusal for the sake of others ends it, and so does a machine that is busy for minutes.
async fn patiently<F: Future<Output = Answer>>(ask: impl Fn() -> F) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        if answer.status != 503 || begun.elapsed() > Duration::from_mins(2) {
            return answer;
        }
        let wait = answer.header("retry-after").expect("a busy server says when to ask again");
        tokio::time::sleep(Duration::from_secs(wait.parse().expect("seconds"))).await;
    }
}

async fn get_in(world: &World, from: &str, name: &str) {
    Tokens::of(&patiently(|| attempt(world, from, name, PASSWORD)).await);
}

/// Each from a network of their own: so many registrations are not for one.
async fn register(world: &World, names: &[String]) {
    for (at, name) in names.iter().enumerate() {
        let body = json!({"username": name, "password": PASSWORD});
        let from = format!("192.0.2.{at}");
        let answer = patiently(|| post_from(world, &from, "/register", &body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
}

/// How many waits, of which each takes twice as long as the one before, have passed: so many more may
/// have been checked on a busy machine.
fn waits_since(begun: Instant) -> usize {
    let seconds = begun.elapsed().as_secs() + 1;
    (seconds + 1).ilog2() as usize
}

fn counted(statuses: &[u16], wanted: u16) -> usize {
    statuses.iter().filter(|status| **status == wanted).count()
}

async fn sixty_people_of_one_office_log_in_at_once(kind: Kind) {
    let world = world(kind, &[]).await;
    let names: Vec<_> = (0..60).map(|at| format!("person{at}")).collect();
    register(&world, &names).await;
    join_all(names.iter().map(|name| get_in(&world, "198.51.100.7", name))).await;
    // And nothing of it is left to count: the office may fail as often as anybody.
    for at in 0..20 {
        let answer = attempt(&world, "198.51.100.7", &format!("somebody{at}"), WRONG).await;
        assert_eq!(answer.status, 401, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_people_of_one_office_log_in_at_once_on_postgres() {
    sixty_people_of_one_office_log_in_at_once(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_people_of_one_office_log_in_at_once_on_sqlite() {
    sixty_people_of_one_office_log_in_at_once(Kind::Sqlite).await;
}

/// On a machine that does not get through its work in time nobody is told that they tried too often: not
/// from one network, and not for one account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_is_too_slow_for_a_crowd_does_not_blame_it() {
    for limit in ["AUTH__LIMITS__NETWORK_BURST", "AUTH__LIMITS__ACCOUNT_FREE"] {
        let slow = [
            (limit, "1"),
            ("AUTH__PASSWORDS__MEMORY_KIB", "65536"),
            ("AUTH__PASSWORDS__ITERATIONS", "4"),
            ("AUTH__PASSWORDS__MAX_WAIT_SECONDS", "1"),
        ];
        let world = world(Kind::Sqlite, &slow).await;
        register(&world, &["ada".to_owned()]).await;
        let from = |at: usize| match limit {
            "AUTH__LIMITS__NETWORK_BURST" => "198.51.100.7".to_owned(),
            _ => format!("198.51.100.{at}"),
        };
        let froms: Vec<_> = (0..16).map(from).collect();
        let all = froms.iter().map(|from| attempt(&world, from, "ada", PASSWORD));
        let mut busy = 0;
        for answer in join_all(all).await {
            if answer.status == 503 {
                busy += 1;
                answer.assert_problem(503, "unavailable");
                assert_eq!(answer.header("retry-after"), Some("1"));
            } else {
                Tokens::of(&answer);
            }
        }
        assert!(busy > 0, "{limit}: everybody got in, so nothing was asked");
    }
}

/// A program that opens many sessions at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_right_logins_of_one_account_at_once_all_get_in() {
    let world = world(Kind::Sqlite, &[]).await;
    register(&world, &["ada".to_owned()]).await;
    join_all((0..20).map(|_| get_in(&world, "198.51.100.7", "ada"))).await;
}

/// Where strangers have used up what is free for the name, a right password costs the next one nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_logins_at_once_do_not_wait_for_each_other_where_the_name_is_besieged() {
    let world = world(Kind::Sqlite, &[("AUTH__LIMITS__ACCOUNT_FREE", "4")]).await;
    register(&world, &["ada".to_owned()]).await;
    for at in 0..4 {
        assert_eq!(attempt(&world, &format!("203.0.113.{at}"), "ada", WRONG).await.status, 401);
    }
    world.clock.advance(60);
    // From networks that nobody has been seen on, so that no session speaks for them.
    let froms: Vec<_> = (0..12).map(|at| format!("198.51.100.{at}")).collect();
    join_all(froms.iter().map(|from| get_in(&world, from, "ada"))).await;
}

/// What turns out to be no attempt at a password refuses nobody either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_no_attempts_keep_nobody_out() {
    let world = world(Kind::Sqlite, &[("AUTH__LIMITS__ACCOUNT_FREE", "4")]).await;
    register(&world, &["ada".to_owned()]).await;
    for at in 0..4 {
        assert_eq!(attempt(&world, &format!("203.0.113.{at}"), "ada", WRONG).await.status, 401);
    }
    world.clock.advance(60);
    let bad = json!({"username": "ada", "password": PASSWORD, "scope": "no such"});
    for at in 0..10 {
        let answer = post_from(&world, &format!("203.0.114.{at}"), "/login", &bad).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    Tokens::of(&attempt(&world, "198.51.100.7", "ada", PASSWORD).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_guesses_at_once_no_more_are_checked_than_may_be() {
    let world = world(Kind::Sqlite, &[]).await;
    register(&world, &["ada".to_owned()]).await;
    // Names are counted alike, whether or not there is such an account.
    for (name, from) in [("ada", "198.51.100.7"), ("nobody", "198.51.100.8")] {
        let all = join_all((0..200).map(|_| attempt(&world, from, name, WRONG)));
        // The owner is elsewhere, and is not kept waiting for what strangers try.
        let owner = attempt(&world, "198.51.100.9", "ada", PASSWORD);
        let begun = Instant::now();
        let (answers, owner) = join(all, owner).await;
        let most = 5 + waits_since(begun);
        Tokens::of(&owner);
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        let checked = counted(&statuses, 401);
        // 503 is for whom there was no place left to wait for what becomes of the others.
        let refused = counted(&statuses, 429) + counted(&statuses, 503);
        assert_eq!(checked + refused, 200, "{statuses:?}");
        assert!(refused > counted(&statuses, 503), "{name}: nobody is told that it is too often");
        assert!((5..=most).contains(&checked), "{name}: {checked}");
        for answer in answers.iter().filter(|answer| answer.status != 401) {
            assert!(answer.header("retry-after").is_some());
        }
    }
}

/// An owner with a session does not stand in the line of the strangers who besiege the name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_passes_a_crowd_of_strangers() {
    let changed = [("AUTH__LIMITS__ACCOUNT_FREE", "10"), ("AUTH__LIMITS__NETWORK_BURST", "5")];
    let world = world(Kind::Sqlite, &changed).await;
    register(&world, &["ada".to_owned()]).await;
    let tokens = Tokens::of(&attempt(&world, "198.51.100.9", "ada", PASSWORD).await);
    let froms: Vec<_> = (0..90).map(|at| format!("203.0.113.{}", at % 30)).collect();
    let strangers = join_all(froms.iter().map(|from| attempt(&world, from, "ada", WRONG)));
    let owner = async {
        let mut got_in = 0;
        for _ in 0..20 {
            let body = json!({"username": "ada", "password": PASSWORD});
            let request = world.http.post(format!("{}/login", world.auth));
            let request = request.header("x-forwarded-for", "192.0.2.99");
            let answer = request.bearer_auth(&tokens.access).json(&body);
            Tokens::of(&Answer::to(answer).await);
            got_in += 1;
        }
        got_in
    };
    let begun = Instant::now();
    let (answers, got_in) = join(strangers, owner).await;
    let most = 10 + waits_since(begun);
    let checked = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(got_in, 20);
    assert!((1..=most).contains(&checked), "{checked}");
}
