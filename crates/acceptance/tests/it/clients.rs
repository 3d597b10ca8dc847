//! The client of the settings is a row, and what its tokens get comes from there.

use std::time::{Duration, Instant};

use auth_service::store::{Client, Store};
use futures_util::future::join_all;
use serde_json::json;
use testbed::world::AUDIENCE;
use testbed::{Tokens, World, on_both_databases};

use crate::present::{claims, restart_with, write_report};

async fn first_party(store: &Store) -> Client {
    store.client("latchkey".parse().unwrap()).await.unwrap().expect("the start wrote it")
}

async fn changed_at(world: &World) -> i64 {
    world.database.number("select changed_at from clients where client_id = 'latchkey'").await
}

on_both_databases! {
    async fn an_audience_that_is_taken_out_of_the_settings_goes_with_the_next_refresh(world) {
        let other = "https://other.example";
        let both = format!("{AUDIENCE},{other}");
        restart_with(&mut world, &[("AUTH__TOKENS__AUDIENCE", &both)]).await;
        let first = world.newcomer("ada").await;
        let issuer = claims(&first.access)["iss"].clone();
        assert_eq!(claims(&first.access)["aud"], json!([AUDIENCE, other, issuer]));
        assert_eq!(write_report(&world, &first).await, 201);
        restart_with(&mut world, &[("AUTH__TOKENS__AUDIENCE", other)]).await;
        // Rotated, and then given again.
        for _ in 0..2 {
            let next = Tokens::of(&world.refresh(&first.refresh).await);
            assert_eq!(claims(&next.access)["aud"], json!([other, issuer]));
            assert_eq!(write_report(&world, &next).await, 401);
            assert_eq!(world.get_as(&next.access, "/me").await.status, 200);
        }
    }

    async fn a_start_rewrites_the_row_where_the_settings_differ_and_only_there(world) {
        let first = world.newcomer("ada").await;
        let (row, written) = (first_party(&world.store).await, changed_at(&world).await);
        assert_eq!((row.access.as_secs(), row.audiences), (600, vec![AUDIENCE.to_owned()]));
        world.database.execute("update clients set version = 5").await;
        world.clock.advance(60);
        world.restart().await;
        assert_eq!(changed_at(&world).await, written, "there was nothing to write");
        restart_with(&mut world, &[("AUTH__TOKENS__ACCESS_SECONDS", "120")]).await;
        assert_eq!(first_party(&world.store).await.access.as_secs(), 120);
        assert!(changed_at(&world).await >= written + 60_000);
        let version = "select version from clients where client_id = 'latchkey'";
        assert_eq!(world.database.number(version).await, 5, "no setting lowers what was raised");
        // A session from before goes on, by the client as it is now.
        let next = Tokens::of(&world.refresh(&first.refresh).await);
        assert_eq!(next.session, first.session);
        let lasts = next.json["expires_in"].as_u64().unwrap();
        assert!((114..=120).contains(&lasts), "{lasts}");
        // What nobody can read is written anew.
        world.database.execute("update clients set audiences = 'nonsense'").await;
        world.restart().await;
        assert_eq!(first_party(&world.store).await.audiences, [AUDIENCE]);
    }

    /// As another replica does, which was started with other settings.
    async fn a_service_that_runs_follows_a_change_of_the_row(world) {
        let first = world.newcomer("ada").await;
        assert_eq!(first.json["scope"], "profile reports:read reports:write");
        let client = first_party(&world.store).await;
        let (scopes, audiences) = ("profile".parse().unwrap(), Vec::new());
        let less = Client { scopes, audiences, ..client.clone() };
        assert!(world.store.put_client(less.clone()).await.unwrap());
        assert!(!world.store.put_client(less).await.unwrap(), "it is so already");
        // Not so often that the session is told to slow down.
        let deadline = Instant::now() + Duration::from_secs(30);
        while Tokens::of(&world.refresh(&first.refresh).await).json["scope"] != "profile" {
            assert!(Instant::now() < deadline, "the service does not hear of it");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let next = Tokens::of(&world.refresh(&first.refresh).await);
        assert_eq!(claims(&next.access)["aud"], claims(&next.access)["iss"]);
        // Without a row it goes on with what it knew.
        world.database.execute("delete from clients").await;
        assert_eq!(world.refresh(&first.refresh).await.status, 200);
        world.restart().await;
        assert_eq!(first_party(&world.store).await, client);
    }

    async fn of_several_that_write_the_same_client_at_once_one_does(world) {
        let client = first_party(&world.store).await;
        world.database.execute("delete from clients").await;
        let client = Client { name: "one".to_owned(), ..client };
        for name in ["two", "three"] {
            let client = Client { name: name.to_owned(), ..client.clone() };
            let all = join_all((0..8).map(|_| world.store.put_client(client.clone()))).await;
            let wrote = all.into_iter().filter(|done| *done.as_ref().unwrap()).count();
            assert_eq!(wrote, 1, "{name}");
            assert_eq!(first_party(&world.store).await, client);
        }
        // And where they do not agree, the row is one of theirs, whole.
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let each = names.clone().map(|name| Client { name, ..client.clone() });
        for done in join_all(each.map(|client| world.store.put_client(client))).await {
            done.unwrap();
        }
        let left = first_party(&world.store).await;
        assert!(names.contains(&left.name));
        assert_eq!(Client { name: "one".to_owned(), ..left }, client);
    }
}
