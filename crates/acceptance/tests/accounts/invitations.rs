//! Who may come in: everybody, whoever was invited, nobody.

use std::time::Duration;

use auth_service::config::RegistrationMode;
use auth_service::identity::names;
use auth_service::schemas::who_may_register;
use auth_service::store::{InvitationId, InvitationState, NewInvitation};
use auth_service::tokens::InvitationToken;
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use testbed::service::until;
use testbed::{Answer, Kind, PASSWORD, World, on_both_databases};

use crate::support::assert_one_sentence;

const HOUR: i64 = 3600;
const SETTING: &str = "AUTH__REGISTRATION";

/// The same world with another setting.
async fn set(world: &mut World, mode: &str) {
    world.set(SETTING, mode);
    world.restart().await;
}

/// An invitation for an hour: its id and its token.
async fn invite(world: &World, email: Option<&str>) -> (InvitationId, String) {
    let token = InvitationToken::random();
    let email = email.map(|text| (text.to_owned(), names::email(text).expect("an address")));
    let new = NewInvitation { digest: token.digest(), email, lifetime: Duration::from_hours(1) };
    let made = world.store.invite(new).await.expect("the database answers");
    (made.id, token.write().expose_secret().to_owned())
}

async fn register(world: &World, name: &str, invitation: &Value) -> Answer {
    let body = json!({"username": name, "password": PASSWORD, "invitation": invitation});
    world.post("/register", &body).await
}

async fn register_with_email(world: &World, name: &str, email: &str, invitation: &str) -> Answer {
    let body = json!({
        "username": name, "password": PASSWORD, "email": email, "invitation": invitation,
    });
    world.post("/register", &body).await
}

async fn state(world: &World, id: InvitationId) -> InvitationState {
    let all = world.store.list_invitations(None, 100).await.expect("the database answers");
    all.into_iter().find(|one| one.id == id).expect("it is listed").state
}

async fn users(world: &World) -> i64 {
    world.database.number("select count(*) from users").await
}

/// All that an answer says, but for what names this one occurrence.
fn said(answer: &Answer) -> Value {
    let mut document = answer.json();
    document.as_object_mut().expect("an object").remove("request_id");
    document
}

on_both_databases! {
    async fn where_registration_is_closed_everybody_gets_the_same_answer(world) {
        world.register("ada").await;
        let (id, token) = invite(&world, None).await;
        world.set("AUTH__LIMITS__REGISTER_BURST", "1");
        set(&mut world, "closed").await;
        let mut answers = Vec::new();
        for name in ["ada", "ADA", "eve", "not@a name", ""] {
            for invitation in [Value::Null, json!(token), json!("x")] {
                answers.push(register(&world, name, &invitation).await);
            }
        }
        answers.push(world.post("/register", &json!({"username": "eve", "password": "short"})).await);
        for answer in &answers {
            // More than a limit would let through: nothing is charged.
            answer.assert_problem(403, "registration-closed");
            assert_one_sentence(answer);
            assert_eq!(said(answer), said(&answers[0]));
        }
        assert_eq!((users(&world).await, state(&world, id).await), (1, InvitationState::Open));
        world.login("ada").await;
        // Nothing is asked of the database.
        world.database.take_away().await;
        register(&world, "ada", &Value::Null).await.assert_problem(403, "registration-closed");
        world.database.bring_back().await;
    }

    async fn an_invitation_lets_one_person_in_once(world) {
        set(&mut world, "invite").await;
        let (id, token) = invite(&world, None).await;
        let answer = register(&world, "ada", &json!(token)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.assert_hardened();
        let user = answer.json()["user"]["id"].as_str().expect("an id").to_owned();
        let tokens = world.login("ada").await;
        match state(&world, id).await {
            InvitationState::Used(by) => assert_eq!(by.to_string(), user),
            other => panic!("{other:?}"),
        }
        register(&world, "eve", &json!(token)).await.assert_problem(403, "invitation-invalid");
        // The answer was lost, and the client asks once more: the account is there.
        register(&world, "ada", &json!(token)).await.assert_problem(403, "invitation-invalid");
        world.login("ada").await;
        assert_eq!(users(&world).await, 1);

        let told = async |sql| world.database.number(sql).await;
        assert_eq!(told("select count(*) from events where kind = 'invited' and user_id is null").await, 1);
        let used = "select count(*) from events e, invitations i, users u \
            where e.kind = 'invitation-used' and e.user_id = u.id \
              and e.reason = cast(i.id as text) and i.user_id = u.id";
        assert_eq!(told(used).await, 1);
        let events = world.get_as(&tokens.access, "/sessions/events").await.json();
        let kinds: Vec<_> = events["events"].as_array().expect("events").iter()
            .filter_map(|event| event["kind"].as_str()).collect();
        assert!(kinds.contains(&"invitation-used") && kinds.contains(&"registered"), "{kinds:?}");
    }

    async fn an_invitation_that_is_not_good_is_refused_in_one_way(world) {
        set(&mut world, "invite").await;
        let (_, used) = invite(&world, None).await;
        assert_eq!(register(&world, "first", &json!(used)).await.status, 201);
        let (id, revoked) = invite(&world, None).await;
        assert!(world.store.revoke_invitation(id).await.unwrap());
        assert!(!world.store.revoke_invitation(id).await.unwrap(), "it is revoked already");
        let (_, expired) = invite(&world, None).await;
        world.clock.advance(HOUR);
        let (good_id, good) = invite(&world, None).await;
        let (_, bound) = invite(&world, Some("ada@example.com")).await;
        let elsewhere = InvitationToken::random().write().expose_secret().to_owned();
        let mut flipped = good.clone().into_bytes();
        flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).unwrap();
        let first = register(&world, "ada", &Value::Null).await;
        for bad in [
            "", "x", "inv1.", &used, &revoked, &expired, &bound, &elsewhere, &flipped,
            &good[5..], &good[..36], &format!("{good}A"), &format!("{good}="), &format!(" {good}"),
            &format!("{good}\n"), &format!("{good}\0"), &good.to_uppercase(),
            &format!("inv1.{}", "A".repeat(32)), &format!("inv1.{}", "A".repeat(15_000)),
            &format!("inv1.{}", "é".repeat(16)), &format!("inv1.{}", "＿".repeat(32)),
            "inv1.' or 1 = 1 or digest = 'xxxxxxxxxxxxxx", "%",
        ] {
            // Known names are told of to those alone who are invited.
            for name in ["ada", "first"] {
                let answer = register(&world, name, &json!(bad)).await;
                answer.assert_problem(403, "invitation-invalid");
                assert_one_sentence(&answer);
                assert_eq!(said(&answer), said(&first), "{bad}");
            }
        }
        for bad in [json!(1), json!([good]), json!({"token": good}), json!(true)] {
            register(&world, "ada", &bad).await.assert_problem(400, "invalid-request");
        }
        assert_eq!((users(&world).await, state(&world, good_id).await), (1, InvitationState::Open));
        assert_eq!(register(&world, "ada", &json!(good)).await.status, 201);
    }

    async fn a_bound_invitation_is_good_for_its_address_only(world) {
        set(&mut world, "invite").await;
        let (id, token) = invite(&world, Some("Ada@Example.com")).await;
        register(&world, "ada", &json!(token)).await.assert_problem(403, "invitation-invalid");
        for other in ["eve@example.com", "ada@example.org", "ada+x@example.com"] {
            let answer = register_with_email(&world, "ada", other, &token).await;
            answer.assert_problem(403, "invitation-invalid");
        }
        assert_eq!(state(&world, id).await, InvitationState::Open);
        let answer = register_with_email(&world, "ada", "ａda@EXAMPLE.com", &token).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let (_, unbound) = invite(&world, None).await;
        let answer = register_with_email(&world, "eve", "eve@example.com", &unbound).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    async fn a_registration_that_fails_does_not_use_the_invitation_up(world) {
        world.register("ada").await;
        set(&mut world, "invite").await;
        let (id, token) = invite(&world, None).await;
        let weak = json!({"username": "eve", "password": "short", "invitation": token});
        world.post("/register", &weak).await.assert_problem(422, "password-policy");
        register(&world, "ada", &json!(token)).await.assert_problem(409, "conflict");
        register(&world, "a@b", &json!(token)).await.assert_problem(400, "invalid-request");
        assert_eq!((users(&world).await, state(&world, id).await), (1, InvitationState::Open));
        assert_eq!(register(&world, "eve", &json!(token)).await.status, 201);
    }

    async fn of_twenty_registrations_with_one_invitation_one_is_let_in(world) {
        set(&mut world, "invite").await;
        let (id, token) = invite(&world, None).await;
        // More at once than there are places would be answered 503.
        let mut answers = Vec::new();
        for names in [0..10, 10..20] {
            let token = json!(token);
            let at_once = names.map(|n| {
                let (world, token) = (&world, &token);
                async move { register(world, &format!("user{n}"), token).await }
            });
            answers.extend(join_all(at_once).await);
        }
        let let_in = answers.iter().filter(|answer| answer.status == 201).count();
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            refused.assert_problem(403, "invitation-invalid");
        }
        assert_eq!((let_in, users(&world).await), (1, 1));
        assert!(matches!(state(&world, id).await, InvitationState::Used(_)));
    }

    /// By the store alone, so that all are past the first look and meet at the row.
    async fn whoever_waits_for_an_invitation_finds_it_used(world) {
        use auth_service::store::{InvitedRegistration, NewUser};
        world.register("taken").await;
        let token = InvitationToken::random();
        let lifetime = Duration::from_hours(1);
        world.store.invite(NewInvitation { digest: token.digest(), email: None, lifetime })
            .await.unwrap();
        let attempts = (0..20).map(|n| {
            // Every other one wants a name that is taken, and leaves the invitation to the next.
            let username = if n % 2 == 0 { "taken".to_owned() } else { format!("user{n}") };
            let key = names::username(&username).unwrap();
            let (username, password_hash) = (Some((username, key)), "hash".to_owned());
            let user = NewUser { username, email: None, password_hash, roles: Vec::new() };
            world.store.create_invited_user(user, token.digest())
        });
        let done: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
        let added = done.iter().filter(|one| matches!(one, InvitedRegistration::Added(_))).count();
        assert_eq!((added, users(&world).await), (1, 2));
    }

    async fn guesses_at_invitations_are_counted_as_registrations(world) {
        world.set("AUTH__LIMITS__REGISTER_BURST", "3");
        set(&mut world, "invite").await;
        for _ in 0..3 {
            let guess = InvitationToken::random().write().expose_secret().to_owned();
            register(&world, "ada", &json!(guess)).await.assert_problem(403, "invitation-invalid");
        }
        let (_, token) = invite(&world, None).await;
        register(&world, "ada", &json!(token)).await.assert_problem(429, "rate-limited");
        world.clock.advance(HOUR);
        let (_, token) = invite(&world, None).await;
        assert_eq!(register(&world, "ada", &json!(token)).await.status, 201);
    }

    async fn where_registration_is_open_no_invitation_is_looked_at(world) {
        let (id, token) = invite(&world, Some("ada@example.com")).await;
        for (name, invitation) in [("ada", json!(token)), ("eve", json!("x")), ("bob", Value::Null)] {
            assert_eq!(register(&world, name, &invitation).await.status, 201, "{name}");
        }
        assert_eq!(state(&world, id).await, InvitationState::Open);
    }

    async fn the_service_deletes_an_invitation_a_week_after_its_end(world) {
        invite(&world, None).await;
        let left = "select count(*) from invitations";
        world.clock.advance(7 * 24 * HOUR);
        world.restart().await;
        assert_eq!(world.database.number(left).await, 1);
        world.clock.advance(2 * HOUR);
        world.restart().await;
        until("it is deleted", async || world.database.number(left).await == 0).await;
    }

    async fn old_invitations_are_deleted_in_batches_whatever_became_of_them(world) {
        for _ in 0..4 {
            invite(&world, None).await;
        }
        let (revoked, _) = invite(&world, None).await;
        world.store.revoke_invitation(revoked).await.unwrap();
        let now = world.clock.now();
        let purge = |before| world.store.purge_invitations(before, 2);
        assert_eq!(purge(now).await.unwrap(), 0, "none has expired");
        let later = claims::Timestamp(now.0 + 2 * HOUR * 1000);
        for expected in [2, 2, 1, 0] {
            assert_eq!(purge(later).await.unwrap(), expected);
        }
    }
}

/// What a service says of itself, in each of the places where somebody looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_the_documentation_and_the_metadata_say_who_may_register() {
    let all = [RegistrationMode::Open, RegistrationMode::Invite, RegistrationMode::Closed];
    for mode in all {
        let settings = [(SETTING, mode.as_str()), ("AUTH__PAGE__ENABLED", "true")];
        let world = World::start_with(Kind::Sqlite, &settings).await;
        let get =
            async |path: &str| Answer::to(world.http.get(format!("{}{path}", world.auth))).await;
        let metadata = get("/.well-known/oauth-authorization-server").await.json();
        assert_eq!(metadata["account_registration"], mode.as_str());
        assert_eq!(get("/assets/page.json").await.json()["registration"], mode.as_str());
        for path in ["/docs", "/openapi.json"] {
            let text = get(path).await.text;
            for other in all {
                let says = text.contains(who_may_register(other));
                assert_eq!(says, other == mode, "{path} of {mode:?}: {other:?}");
            }
        }
    }
}

/// On an address that is not this machine's, nobody registers unless somebody says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn off_this_machine_registration_is_closed_unless_a_setting_opens_it() {
    let elsewhere = [
        ("AUTH__ISSUER", "https://auth.example.com"),
        ("RESOURCE__ISSUER", "https://auth.example.com"),
        ("AUTH__FEED__SECRET", "0123456789abcdef0123456789abcdef"),
        ("RESOURCE__FEED__SECRET", "0123456789abcdef0123456789abcdef"),
        ("AUTH__HOUSEKEEPING__SETTLE_SECONDS", "3600"),
        ("AUTH__PASSWORDS__MEMORY_KIB", "19456"),
        ("AUTH__PASSWORDS__ITERATIONS", "2"),
    ];
    let mut world = World::start_with(Kind::Sqlite, &elsewhere).await;
    register(&world, "ada", &Value::Null).await.assert_problem(403, "registration-closed");
    set(&mut world, "open").await;
    world.register("ada").await;
}
