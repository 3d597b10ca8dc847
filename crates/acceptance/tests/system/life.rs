//! The life of an account by the commands of an administrator: shown, found, renamed, exported, deleted.

use serde_json::{Value, json};
use testbed::service::until;
use testbed::{PASSWORD, World, on_both_databases};

use crate::commands::{bad, command, good, told};

/// Makes a user, and answers the id.
fn create(world: &World, arguments: &[&str]) -> String {
    let all = [&["user", "create"], arguments].concat();
    good(&told(world, &all, PASSWORD)).trim().to_owned()
}

/// What a list of users names: by name, else by address.
fn listed(world: &World, arguments: &[&str]) -> Vec<String> {
    let list = good(&command(world, &[&["user", "list"], arguments].concat()));
    let name = |line: &str| {
        let cells: Vec<_> = line.split('\t').collect();
        if cells[1] == "-" { cells[2].to_owned() } else { cells[1].to_owned() }
    };
    list.lines().map(name).collect()
}

on_both_databases! {
    async fn a_user_is_shown_renamed_and_given_another_address(world) {
        let id = create(&world, &["Ada", "--email", "ada@example.com", "--role", "auditor"]);
        create(&world, &["grace", "--email", "grace@example.com"]);
        let tokens = world.login("ada").await;
        world.login("ada").await;
        let shown = good(&command(&world, &["user", "show", "ADA@example.com"]));
        let line = |name: &str| {
            let found = shown.lines().find_map(|line| line.strip_prefix(&format!("{name}\t")));
            found.unwrap_or_else(|| panic!("no {name} in {shown}")).to_owned()
        };
        assert_eq!((line("id"), line("name"), line("address")), (id.clone(), "Ada".into(), "ada@example.com".into()));
        assert_eq!((line("roles"), line("state"), line("live sessions")), ("auditor".into(), "enabled".into(), "2".into()));
        for at in ["registered", "last use of one"] {
            assert!(line(at).ends_with('Z'), "{shown}");
        }

        bad(&command(&world, &["user", "rename", "ada", "GRACE"]), "taken");
        bad(&command(&world, &["user", "set-email", "ada", "Grace@Example.com"]), "taken");
        bad(&command(&world, &["user", "rename", "ada", "a@b"]), "no @");
        bad(&command(&world, &["user", "rename", "ada", &id]), "look like the id");
        bad(&command(&world, &["user", "set-email", "ada", "nothing"]), "not an address");
        bad(&command(&world, &["user", "rename", "nobody", "eve"]), "no user");
        good(&command(&world, &["user", "rename", "ada", "countess"]));
        good(&command(&world, &["user", "rename", "countess", "Countess"]));
        // Sessions go on.
        assert_eq!(world.get_as(&tokens.access, "/me").await.json()["username"], "Countess");
        good(&command(&world, &["user", "set-email", &id, "--none"]));
        bad(&command(&world, &["user", "rename", &id, "--none"]), "neither a name nor an address");
        good(&command(&world, &["user", "set-email", &id, "other@example.com"]));
        good(&command(&world, &["user", "rename", &id, "--none"]));
        bad(&command(&world, &["user", "set-email", &id, "--none"]), "neither a name nor an address");
        let me = world.get_as(&tokens.access, "/me").await.json();
        assert_eq!((&me["username"], &me["email"]), (&Value::Null, &json!("other@example.com")));
        let body = json!({"username": "other@example.com", "password": PASSWORD});
        assert_eq!(world.post("/login", &body).await.status, 200);
        for (sql, many) in [
            ("select count(*) from events where kind = 'user-renamed'", 3),
            ("select count(*) from events where kind = 'email-changed'", 2),
        ] {
            assert_eq!(world.database.number(sql).await, many, "{sql}");
        }
        for arguments in [
            &["user", "rename", "grace"][..],
            &["user", "set-email", "grace"],
            &["user", "rename", "grace", "eve", "--none"],
            &["user", "show"],
            &["user", "delete"],
        ] {
            assert!(!command(&world, arguments).status.success(), "{arguments:?}");
        }
    }

    async fn a_user_who_is_deleted_by_a_command_is_gone_everywhere(world) {
        let id = create(&world, &["ada", "--email", "ada@example.com"]);
        let tokens = world.login("ada").await;
        let said = good(&command(&world, &["user", "delete", "ada"]));
        assert!(said.starts_with(&id), "{said}");
        world.until_refused(&tokens.access).await;
        world.refresh(&tokens.refresh).await.assert_problem(401, "session-revoked");
        let body = json!({"username": "ada", "password": PASSWORD});
        world.post("/login", &body).await.assert_problem(401, "invalid-credentials");
        for arguments in [
            ["user", "show", &id], ["user", "enable", &id], ["user", "delete", &id], ["user", "export", &id],
            ["user", "delete", "ada"], ["user", "delete", "ada@example.com"],
        ] {
            bad(&command(&world, &arguments), "no user");
        }
        assert_eq!(listed(&world, &[]), [""; 0]);
        // Name and address are somebody else's at once.
        let new = create(&world, &["ada", "--email", "ada@example.com"]);
        assert_ne!(new, id);
        world.clock.advance(61);
        until("the rest is forgotten", async || {
            world.database.number("select count(*) from users").await == 1
        }).await;
        world.login("ada").await;
        let told = "select count(*) from events where kind = 'user-deleted'";
        assert_eq!(world.database.number(told).await, 1);
    }

    /// The same document as its owner gets, but for what happened in between.
    async fn an_export_by_a_command_is_the_owners(world) {
        create(&world, &["ada", "--role", "auditor"]);
        let tokens = world.login("ada").await;
        let own = world.get_as(&tokens.access, "/me/export").await;
        let exported = good(&command(&world, &["user", "export", "ada"]));
        assert_eq!(exported, own.text);
        assert_eq!(own.json()["user"]["roles"], json!(["auditor"]));
        bad(&command(&world, &["user", "export", "nobody"]), "no user");
    }

    async fn a_list_has_pages_and_a_search(world) {
        for name in ["ada", "Adam", "bob", "Zoë"] {
            create(&world, &[name]);
        }
        create(&world, &["--email", "ada@example.com"]);
        create(&world, &["grace", "--email", "adagrace@example.com"]);
        let all = ["ada", "Adam", "bob", "Zoë", "ada@example.com", "grace"];
        assert_eq!(listed(&world, &[]), all);
        assert_eq!(listed(&world, &["--limit", "2"]), all[..2]);
        assert_eq!(listed(&world, &["--limit", "0"]), [""; 0]);
        let id = |name: &str| {
            let shown = good(&command(&world, &["user", "show", name]));
            shown.lines().next().and_then(|line| line.strip_prefix("id\t")).expect("an id").to_owned()
        };
        assert_eq!(listed(&world, &["--after", &id("bob"), "--limit", "2"]), all[3..5]);
        let found = ["ada", "Adam", "ada@example.com", "grace"];
        assert_eq!(listed(&world, &["--search", "ADA"]), found);
        assert_eq!(listed(&world, &["--search", "ada", "--limit", "2"]), found[..2]);
        let after = format!("id:{}", id("Adam"));
        assert_eq!(listed(&world, &["--search", "ada", "--after", &after]), found[2..]);
        assert_eq!(listed(&world, &["--search", "zo"]), ["Zoë"]);
        assert_eq!(listed(&world, &["--search", "nobody"]), [""; 0]);
        bad(&command(&world, &["user", "list", "--search", ""]), "--search");
        bad(&command(&world, &["user", "list", "--search", "@"]), "--search");
        bad(&command(&world, &["user", "list", "--after", "bob"]), "--after");
        bad(&command(&world, &["user", "list", "--search", "ada", "--after", &id("bob")]), "--after");
    }
}
