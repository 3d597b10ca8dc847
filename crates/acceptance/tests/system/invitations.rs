//! `auth-service user invite`, `user invitations` and `user uninvite`; and what a service says at its start.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::json;
use testbed::service::{owned, run};
use testbed::world::auth_settings;
use testbed::{Database, Kind, PASSWORD, on_both_databases, process};

use crate::commands::{bad, command, good, told};

on_both_databases! {
    async fn an_administrator_invites_looks_and_takes_back(world) {
        world.set("AUTH__REGISTRATION", "invite");
        world.restart().await;
        let line = good(&command(&world, &["user", "invite", "--email", "Ada@example.com"]));
        let parts: Vec<_> = line.trim_end().split('\t').collect();
        assert_eq!((line.lines().count(), parts.len()), (1, 4), "{line}");
        let (id, token) = (parts[0], parts[1]);
        assert!(token.starts_with("inv1.") && token.len() == 37, "{token}");
        assert_eq!(parts[3], "-", "there is no page");

        let list = good(&command(&world, &["user", "invitations"]));
        assert!(list.starts_with(&format!("{id}\tAda@example.com\topen\t")), "{list}");
        assert!(!list.contains(&token[5..]), "{list}");
        let body = json!({
            "username": "ada", "password": PASSWORD, "email": "ada@EXAMPLE.com", "invitation": token,
        });
        let answer = world.post("/register", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let user = answer.json()["user"]["id"].as_str().expect("an id").to_owned();
        let list = good(&command(&world, &["user", "invitations"]));
        assert!(list.contains("\tused\t") && list.ends_with(&format!("\t{user}\n")), "{list}");
        bad(&command(&world, &["user", "uninvite", id]), "could still be used");

        let line = good(&command(&world, &["user", "invite", "--expires-hours", "720"]));
        let (other, token) = (line.split('\t').next().unwrap(), line.split('\t').nth(1).unwrap());
        // The token in the place of the id is not repeated.
        let output = command(&world, &["user", "uninvite", token]);
        bad(&output, "no id of an invitation");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("inv1"));
        good(&command(&world, &["user", "uninvite", other]));
        let body = json!({"username": "eve", "password": PASSWORD, "invitation": token});
        world.post("/register", &body).await.assert_problem(403, "invitation-invalid");
        let list = good(&command(&world, &["user", "invitations"]));
        assert!(list.lines().nth(1).is_some_and(|line| line.contains("\t-\trevoked\t")), "{list}");
        let revoked = "select count(*) from events where kind = 'invitation-revoked'";
        assert_eq!(world.database.number(revoked).await, 1);
    }

    async fn an_invitation_that_could_not_be_used_is_not_made(world) {
        world.register("ada").await;
        let with_email = json!({"username": "eve", "password": PASSWORD, "email": "eve@example.com"});
        assert_eq!(world.post("/register", &with_email).await.status, 201);
        bad(&command(&world, &["user", "invite"]), "registration: it is open");
        bad(&command(&world, &["user", "invite"]), "AUTH__REGISTRATION to invite");
        world.set("AUTH__REGISTRATION", "closed");
        bad(&command(&world, &["user", "invite"]), "registration: it is closed");
        world.set("AUTH__REGISTRATION", "invite");
        for hours in ["0", "721", "4294967295"] {
            let output = command(&world, &["user", "invite", "--expires-hours", hours]);
            bad(&output, "--expires-hours: an invitation is good for 1 to 720 hours");
        }
        bad(&command(&world, &["user", "invite", "--email", "eve"]), "not an address");
        bad(&command(&world, &["user", "invite", "--email", "EVE@example.com"]), "has an account");
        bad(&command(&world, &["user", "uninvite", "0197a3f2-5b1c-7d2e-8f90-a1b2c3d4e5f6"]), "no such invitation");
        assert_eq!(world.database.number("select count(*) from invitations").await, 0);
        assert_eq!(good(&command(&world, &["user", "invitations"])), "");
    }

    /// Whoever runs the service is not kept out by what it says to others.
    async fn administrators_make_accounts_whoever_may_register(world) {
        world.set("AUTH__REGISTRATION", "closed");
        world.restart().await;
        good(&told(&world, &["user", "create", "ada"], PASSWORD));
        world.login("ada").await;
    }

    async fn a_link_leads_to_the_page_where_there_is_one(world) {
        world.set("AUTH__REGISTRATION", "invite");
        world.set("AUTH__PAGE__ENABLED", "true");
        let line = good(&command(&world, &["user", "invite"]));
        let parts: Vec<_> = line.trim_end().split('\t').collect();
        // No server is told of what stands behind the #.
        assert_eq!(parts[3], format!("http://127.0.0.1:8080/#invitation={}", parts[1]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_that_there_is_not_is_refused_with_what_to_do() {
    let database = Database::create(Kind::Sqlite).await;
    let others = owned(&[("AUTH__REGISTRATION", "everybody")]);
    let settings: Vec<_> = auth_settings(&database.url, &others).collect();
    for arguments in [&[][..], &["user", "invite"]] {
        let output = run("auth-service", arguments, &settings);
        bad(&output, "must be open, invite or closed");
        bad(&output, "registration");
    }
}

/// Where an installation was open and is not any more, the log says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_at_the_start_who_may_register_and_why() {
    let public = [
        ("AUTH__ISSUER", "https://auth.example.com"),
        ("AUTH__FEED__SECRET", "0123456789abcdef0123456789abcdef"),
        ("AUTH__HOUSEKEEPING__SETTLE_SECONDS", "3600"),
        ("AUTH__PASSWORDS__MEMORY_KIB", "19456"),
        ("AUTH__PASSWORDS__ITERATIONS", "2"),
    ];
    for (settings, expected) in [
        (
            &[][..],
            "registration is open: the setting `registration` is empty and the issuer is this machine",
        ),
        (
            &public,
            "registration is closed: the setting `registration` is empty and the issuer is not this machine",
        ),
        (
            &[("AUTH__REGISTRATION", "invite")],
            "registration is invite: the setting `registration` says so",
        ),
    ] {
        let database = Database::create(Kind::Sqlite).await;
        let settings: Vec<_> = auth_settings(&database.url, &owned(settings)).collect();
        let mut command = process::command("auth-service", &[], &settings);
        command.env("RUST_LOG", "info").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let found = lines.any(|line| line.is_ok_and(|line| line.contains(expected)));
        child.kill().expect("it can be ended");
        child.wait().expect("it has ended");
        assert!(found, "{expected}");
    }
}
