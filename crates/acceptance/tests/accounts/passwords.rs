//! How passwords are kept: hashes made anew, brought along from elsewhere, with and without pepper,
//! and what happens when too many want theirs checked.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use testbed::{Answer, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::support::assert_one_sentence;

const MEMORY: &str = "AUTH__PASSWORDS__MEMORY_KIB";
const PEPPERS: &str = "AUTH__PASSWORDS__PEPPERS";
const PEPPER: &str = "7:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

async fn log_in(world: &World, username: &str, password: &str) -> Answer {
    world.post("/login", &json!({"username": username, "password": password})).await
}

/// Waits until one user has a hash as the tests' settings make it.
async fn until_renewed(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let count = "select count(*) from users \
                 where password_hash like '$argon2id$v=19$m=64,t=1,p=1$%'";
    while world.database.number(count).await != 1 {
        assert!(Instant::now() < deadline, "the hash is as it was");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

on_both_databases! {
    /// Each is of "correct horse battery staple": made by bcrypt 5.0.0, hashlib.scrypt and passlib
    /// (Django's form), in Python.
    async fn a_hash_of_another_system_is_good_and_is_made_anew_at_the_first_login(world) {
        let password = "correct horse battery staple";
        world.register("ada").await;
        for sql in [
            "update users set password_hash = \
             '$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG'",
            "update users set password_hash = '$scrypt$ln=10,r=8,p=1$\
             C2FsDcEYwxijlHIuxXjv/Q$cUys0fV8qb7CD+eiNVgvRXDoSvN1in5Ga3Ot6Mzm4XA'",
            "update users set password_hash = 'pbkdf2_sha256$1000$OfnnrsEtRPY7$\
             x/dgYZAmhuUAXwuUhTalRCab5yaMdPnAfzpji/qVEcs='",
        ] {
            world.database.execute(sql).await;
            let wrong = log_in(&world, "ada", PASSWORD).await;
            wrong.assert_problem(401, "invalid-credentials");
            let tokens = Tokens::of(&log_in(&world, "ada", password).await);
            until_renewed(&world).await;
            log_in(&world, "ada", PASSWORD).await.assert_problem(401, "invalid-credentials");
            Tokens::of(&log_in(&world, "ada", password).await);
            // It was no password change.
            Tokens::of(&world.refresh(&tokens.refresh).await);
        }
        assert_eq!(world.database.number("select count(*) from revocations").await, 0);
    }

    async fn a_hash_that_cannot_be_read_is_nobodys_password(world) {
        world.register("ada").await;
        for sql in [
            "update users set password_hash = ''",
            "update users set password_hash = '$argon2id$'",
            "update users set password_hash = '$2b$31$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG'",
            "update users set password_hash = '$argon2id$v=19$m=4000000,t=9,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA'",
        ] {
            world.database.execute(sql).await;
            log_in(&world, "ada", PASSWORD).await.assert_problem(401, "invalid-credentials");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pepper_comes_in_at_login_and_without_it_nobody_does() {
    let world = World::start_with(Kind::Sqlite, &[(PEPPERS, PEPPER)]).await;
    world.register("ada").await;
    let peppered = "select count(*) from users where password_hash like '%,keyid=Nw$%'";
    assert_eq!(world.database.number(peppered).await, 1);
    Tokens::of(&log_in(&world, "ada", PASSWORD).await);
    // As if it had been made with another pepper, or without.
    world
        .database
        .execute("update users set password_hash = replace(password_hash, ',keyid=Nw', '')")
        .await;
    log_in(&world, "ada", PASSWORD).await.assert_problem(401, "invalid-credentials");
    world
        .database
        .execute("update users set password_hash = replace(password_hash, 'p=1$', 'p=1,keyid=OA$')")
        .await;
    log_in(&world, "ada", PASSWORD).await.assert_problem(401, "invalid-credentials");
    // Of "correct horse battery staple", and without pepper.
    world
        .database
        .execute(
            "update users set password_hash = \
             '$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG'",
        )
        .await;
    Tokens::of(&log_in(&world, "ada", "correct horse battery staple").await);
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.database.number(peppered).await != 1 {
        assert!(Instant::now() < deadline, "the hash is as it was");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// N-U07
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_flood_of_logins_some_are_refused_at_once_and_the_others_are_served() {
    let costly = [(MEMORY, "65536"), ("AUTH__PASSWORDS__ITERATIONS", "2")];
    let world = World::start_with(Kind::Sqlite, &costly).await;
    world.register("ada").await;
    let begun = Instant::now();
    let answers = join_all((0..400).map(|_| log_in(&world, "ada", PASSWORD))).await;
    // Nobody waits longer than the world's fifteen seconds for a place; the rest is what a busy machine takes.
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    let (good, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 200);
    assert!(!good.is_empty() && !refused.is_empty(), "{} good", good.len());
    for answer in refused {
        answer.assert_problem(503, "unavailable");
        assert!(answer.header("retry-after").is_some());
        assert_one_sentence(answer);
    }
    Tokens::of(&log_in(&world, "ada", PASSWORD).await);
}
