//! Nothing is accepted with which access tokens would be longer than services take.

use auth_service::identity::names;
use testbed::service::run;
use testbed::{PASSWORD, World, on_both_databases};

use crate::commands::{bad, command, good, told};

/// Each as long as a role may be.
fn roles(many: usize) -> Vec<String> {
    (0..many).map(|number| format!("r{number:063}")).collect()
}

/// The settings of a world, and this one.
fn with(world: &World, name: &str, value: &str) -> Vec<(String, String)> {
    let mut settings = world.auth_settings();
    settings.push((name.to_owned(), value.to_owned()));
    settings
}

fn numbered(many: usize, length: usize, separator: &str) -> String {
    let one = |number| format!("s{number:0>digits$}", digits = length - 1);
    (0..many).map(one).collect::<Vec<_>>().join(separator)
}

on_both_databases! {
    async fn commands_give_no_roles_with_which_tokens_would_be_refused(world) {
        world.register("ada").await;
        let many = roles(100);
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let give = [&["user", "roles", "ada"], &many[..]].concat();
        bad(&command(&world, &give), "bytes of an access token");
        let flags = many.iter().flat_map(|role| ["--role", role]);
        let create: Vec<&str> = ["user", "create", "eve"].into_iter().chain(flags).collect();
        bad(&told(&world, &create, PASSWORD), "bytes of an access token");
        bad(&command(&world, &["user", "show", "eve"]), "no user");
        good(&command(&world, &give[..43]));
        let tokens = world.login("ada").await;
        assert_eq!(world.whoami(&tokens.access).await.status, 200);

        assert!(good(&command(&world, &["doctor"])).contains("ok    roles"));
        // By SQL, or before there was a limit.
        let key = names::username("ada").expect("a name");
        let ada = world.store.credentials(key).await.unwrap().expect("an account").user;
        assert!(world.store.set_roles(ada, roles(100)).await.unwrap());
        let output = command(&world, &["doctor"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains("BAD   roles"), "{said}");
        assert!(said.contains(&format!("id:{ada}")), "{said}");
        // They may be disabled and renamed all the same.
        good(&command(&world, &["user", "rename", "ada", "grace"]));
    }

    async fn scopes_and_services_that_fill_a_token_are_refused_at_the_start(world) {
        let default = numbered(1, 100, " ");
        let mut scopes = with(&world, "AUTH__TOKENS__SCOPES", &numbered(64, 100, " "));
        scopes.push(("AUTH__TOKENS__DEFAULT_SCOPES".to_owned(), default));
        bad(&run("auth-service", &["serve"], &scopes), "tokens.scopes");
        let services = with(&world, "AUTH__TOKENS__AUDIENCE", &numbered(100, 60, ","));
        bad(&run("auth-service", &["serve"], &services), "tokens.audience");
        let output = run("auth-service", &["doctor"], &services);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("BAD   settings") && said.contains("8192"), "{said}");
        // What leaves no room for roles leaves none for those that are given.
        let few = with(&world, "AUTH__TOKENS__AUDIENCE", &numbered(60, 60, ","));
        world.register("ada").await;
        let give = ["user", "roles", "ada"].map(str::to_owned);
        let give: Vec<String> = give.into_iter().chain(roles(20)).collect();
        let give: Vec<&str> = give.iter().map(String::as_str).collect();
        good(&command(&world, &give));
        bad(&run("auth-service", &give, &few), "bytes of an access token");
    }
}
