//! Which user a command means: never another one than the administrator.

use std::process::Output;

use auth_service::identity::names;
use auth_service::store::NewUser;
use claims::UserId;
use serde_json::json;
use testbed::service::run;
use testbed::{PASSWORD, World, on_both_databases};

use crate::commands::{bad, command, good, told};

/// A user as an older version took them: called anything, with [`PASSWORD`].
async fn older(world: &World, name: &str, email: Option<&str>) -> String {
    let new = NewUser {
        username: Some((name.to_owned(), names::username(name).expect("a name"))),
        email: email.map(|email| (email.to_owned(), names::email(email).expect("an address"))),
        password_hash: hash(world).await,
        roles: Vec::new(),
    };
    world.store.create_user(new).await.expect("an answer").expect("a new user").id.to_string()
}

/// Of [`PASSWORD`].
async fn hash(world: &World) -> String {
    let name = format!("model{}", fastrand::u64(..));
    world.register(&name).await;
    let key = names::username(&name).expect("a name");
    world.store.credentials(key).await.expect("an answer").expect("a user").password_hash
}

async fn id_of(world: &World, name: &str) -> String {
    let key = names::username(name).expect("a name");
    world.store.credentials(key).await.expect("an answer").expect("a user").user.to_string()
}

async fn enabled(world: &World, id: &str) -> bool {
    let id = UserId(id.parse().expect("an id"));
    world.store.credentials_of(id).await.expect("an answer").expect("a user").enabled
}

on_both_databases! {
    async fn a_name_that_is_anothers_id_hits_nobody(world) {
        let ada = world.newcomer("ada").await;
        let victim = id_of(&world, "ada").await;
        let stranger = older(&world, &victim, None).await;
        // In each command that takes a user, and in each spelling of the id.
        let upper = victim.to_uppercase();
        for arguments in [
            &["user", "disable", &victim][..],
            &["user", "disable", &upper],
            &["user", "enable", &victim],
            &["user", "roles", &victim, "admin"],
            &["session", "list", &victim],
            &["session", "revoke", "--all-of", &victim],
        ] {
            bad(&command(&world, arguments), "name of another: say id:");
        }
        bad(&told(&world, &["user", "set-password", &victim], PASSWORD), "name of another");
        assert!(enabled(&world, &victim).await && enabled(&world, &stranger).await);
        assert_eq!(world.get_as(&ada.access, "/me").await.json()["roles"], json!([]));

        // Whoever has such a name logs in with it, and is addressed by it.
        let tokens = world.login(&victim).await;
        good(&command(&world, &["user", "disable", &format!("name:{victim}")]));
        world.until_refused(&tokens.access).await;
        assert!(enabled(&world, &victim).await && !enabled(&world, &stranger).await);
        good(&command(&world, &["user", "enable", &format!("id:{stranger}")]));
        good(&command(&world, &["user", "disable", &format!("id:{upper}")]));
        world.until_refused(&ada.access).await;
        assert!(!enabled(&world, &victim).await && enabled(&world, &stranger).await);
    }

    async fn a_name_like_an_id_that_nobody_has_is_meant_only_when_it_is_said(world) {
        let none = uuid::Uuid::now_v7().to_string();
        let stranger = older(&world, &none, None).await;
        bad(&command(&world, &["user", "disable", &none]), "no user has the id");
        bad(&command(&world, &["user", "disable", &format!("id:{none}")]), "no user");
        bad(&command(&world, &["session", "list", &uuid::Uuid::now_v7().to_string()]), "no user");
        assert!(enabled(&world, &stranger).await);
        good(&command(&world, &["user", "disable", &format!("name:{none}")]));
        assert!(!enabled(&world, &stranger).await);
    }

    async fn a_name_with_a_kind_in_front_hits_nobody(world) {
        world.register("ada").await;
        let ada = id_of(&world, "ada").await;
        let by_name = older(&world, "name:ada", Some("email:ada@example.com")).await;
        let eve = older(&world, "eve", Some("ada@example.com")).await;
        let by_id = older(&world, &format!("id:{by_name}"), None).await;
        for ambiguous in ["name:ada", "email:ada@example.com"] {
            bad(&command(&world, &["user", "disable", ambiguous]), "as a whole: say id:");
        }
        for one in [&ada, &by_name, &eve, &by_id] {
            assert!(enabled(&world, one).await);
        }
        // What begins with `id:` is an id whatever anybody is called.
        good(&command(&world, &["user", "disable", &format!("id:{by_name}")]));
        assert!(!enabled(&world, &by_name).await && enabled(&world, &by_id).await);
        good(&command(&world, &["user", "disable", &format!("name:id:{by_name}")]));
        assert!(!enabled(&world, &by_id).await);
        bad(&command(&world, &["user", "disable", "id:ada"]), "no id of a user");
        bad(&command(&world, &["user", "disable", "name:ada@example.com"]), "no user");
        good(&command(&world, &["user", "disable", "name:Eve"]));
        assert!(!enabled(&world, &eve).await);
        good(&command(&world, &["user", "enable", "email:email:ada@example.com"]));
        assert!(enabled(&world, &by_name).await && !enabled(&world, &eve).await);
    }

    async fn nobody_new_takes_a_name_that_can_be_read_as_an_id(world) {
        world.register("ada").await;
        let id: uuid::Uuid = id_of(&world, "ada").await.parse().unwrap();
        let wide = id.simple().to_string().chars()
            .map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect::<String>();
        let names = [
            id.to_string(),
            id.to_string().to_uppercase(),
            id.simple().to_string(),
            id.braced().to_string(),
            id.urn().to_string(),
            wide,
            format!("id:{id}"),
            "Name:ada".to_owned(),
            "email\u{ff1a}ada".to_owned(),
        ];
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("users.jsonl");
        let import = ["user", "import", file.to_str().unwrap()];
        let hash = hash(&world).await;
        for name in &names {
            let body = json!({"username": name, "password": PASSWORD});
            world.post("/register", &body).await.assert_problem(400, "invalid-request");
            bad(&told(&world, &["user", "create", name], PASSWORD), "A username does not");
            let line = json!({"username": name, "password_hash": hash});
            std::fs::write(&file, line.to_string()).unwrap();
            let output = command(&world, &import);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains("line 1: username: A username does not"), "{said}");
            assert!(!output.status.success());
        }
        let body = json!({"username": "eve", "password": PASSWORD, "email": "email:ada@example.com"});
        world.post("/register", &body).await.assert_problem(400, "invalid-request");
        let create = ["user", "create", "eve", "--email", "id:eve@example.com"];
        bad(&told(&world, &create, PASSWORD), "The email does not begin");
        let users: Output = run("auth-service", &["user", "list"], &world.auth_settings());
        assert_eq!(good(&users).lines().count(), 2, "ada and the model of the hash");
    }
}
