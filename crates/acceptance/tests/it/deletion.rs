//! What is left of users who were deleted: forgotten in steps, by whoever comes, however often that is cut off.

use std::collections::HashSet;
use std::sync::Arc;

use auth_service::Config;
use auth_service::identity::names;
use auth_service::identity::pseudonyms::Pseudonyms;
use auth_service::store::{NameChange, NewNames, Renaming, Store};
use claims::{Revoked, UserId};
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Executor as _};
use testbed::service::until;
use testbed::{Kind, World, on_both_databases};

use crate::store::{caller, credentials, is_live, open, revoked, session, user};

/// Opens so many sessions of Ada's that nobody ended, each of which the audit log tells of with an address.
async fn crowd(world: &World, many: u32) {
    let sql = format!(
        "with recursive n (i) as (select 1 union all select i + 1 from n where i < {many}) \
         insert into sessions (id, user_id, client_id, scope, subject_version, \
            idle_expires_at, expires_at, auth_time, amr, created_at, ip, user_agent) \
         select 'AAAAAAAAAAA' || cast(1000000000 + n.i as text) || 'A', u.id, 'web', 'profile', \
            u.version, 9999999999999, 9999999999999, 1, 'pwd', 1795000000000 + n.i, '192.0.2.' || (n.i % 250), \
            'Agent/' || (n.i % 3) \
         from n, users u where u.username_key = 'ada'"
    );
    world.database.execute(AssertSqlSafe(sql)).await;
}

async fn count(world: &World, sql: &'static str) -> i64 {
    world.database.number(sql).await
}

async fn sessions(world: &World) -> i64 {
    count(world, "select count(*) from sessions").await
}

/// How many entries of the audit log still have an address.
async fn named(world: &World) -> i64 {
    let sql = "select count(*) from events where ip not like '~%' or user_agent not like '~%'";
    count(world, sql).await
}

async fn is_forgotten(world: &World) -> bool {
    count(world, "select count(*) from users where deleted_at is not null").await == 0
}

fn pseudonyms() -> Arc<Pseudonyms> {
    Arc::new(Pseudonyms::new(&[42; 32]))
}

/// One replica's work, as the service does it.
async fn forget(store: &Store, user: UserId) {
    let mut after = 0;
    while let Some(next) = store.forget_in_events(user, after, pseudonyms()).await.unwrap() {
        after = next;
    }
    let mut after = None;
    while let Some(next) = store.forget_sessions(user, after).await.unwrap() {
        after = Some(next);
    }
    store.forget_user(user).await.unwrap();
}

on_both_databases! {
    /// The first step does not depend on how much there is, and the others have bounds.
    async fn very_much_is_forgotten_in_steps_and_announced_by_one_entry(world) {
        let ada = user(&world.store, "ada").await;
        let own = open(&world.store, "ada").await;
        crowd(&world, 5000).await;
        assert!(world.store.delete_user(ada).await.unwrap());
        assert!(!is_live(&world.store, &own).await);
        assert_eq!((sessions(&world).await, named(&world).await), (5001, 5000), "later");
        let [Revoked::Subject { min_version: 2, .. }] = revoked(&world.store).await.drain().collect::<Vec<_>>()[..]
            else { panic!("one entry, above the version of every session") };

        let (mut steps, mut after) = (0, 0);
        while let Some(next) = world.store.forget_in_events(ada, after, pseudonyms()).await.unwrap() {
            (steps, after) = (steps + 1, next);
        }
        assert_eq!((steps, named(&world).await), (3, 0));
        let mut after = None;
        for left in [3001, 1001, 0] {
            assert!(!world.store.forget_user(ada).await.unwrap(), "not before the last session is gone");
            after = world.store.forget_sessions(ada, after).await.unwrap();
            assert!(after.is_some());
            assert_eq!(sessions(&world).await, left);
        }
        assert_eq!(world.store.forget_sessions(ada, after).await.unwrap(), None);
        assert!(world.store.forget_user(ada).await.unwrap());
        assert!(!world.store.forget_user(ada).await.unwrap());
        let subjects: HashSet<_> = revoked(&world.store).await;
        assert!(subjects.iter().all(|entry| matches!(entry, Revoked::Subject { .. })), "{subjects:?}");
        assert!(count(&world, "select count(*) from revocations").await <= 2);
        let told = "select count(*) from events where kind = 'user-deleted'";
        assert_eq!(count(&world, told).await, 1);
    }

    async fn a_deletion_that_was_cut_off_is_finished_after_a_restart(world) {
        let ada = user(&world.store, "ada").await;
        crowd(&world, 3000).await;
        // Between the first step and the others.
        assert!(world.store.delete_user(ada).await.unwrap());
        world.restart().await;
        assert_eq!((sessions(&world).await, is_forgotten(&world).await), (3000, false));
        // In the middle of the others.
        assert!(world.store.forget_in_events(ada, 0, pseudonyms()).await.unwrap().is_some());
        assert!(world.store.forget_sessions(ada, None).await.unwrap().is_some());
        assert_eq!((sessions(&world).await, named(&world).await), (1000, 1001));
        world.restart().await;
        world.clock.advance(61);
        until("the rest is forgotten", async || is_forgotten(&world).await).await;
        assert_eq!((sessions(&world).await, named(&world).await), (0, 0));
        // What was replaced before stayed so: each network has one pseudonym, whoever replaced it.
        let pseudonyms = "select count(distinct ip) from events where ip is not null";
        assert_eq!(count(&world, pseudonyms).await, 250);
        let agents = "select count(distinct user_agent) from events where user_agent is not null";
        assert_eq!(count(&world, agents).await, 3);
    }

    async fn several_replicas_forget_one_user_together(world) {
        let ada = user(&world.store, "ada").await;
        let grace = user(&world.store, "grace").await;
        let kept = open(&world.store, "grace").await;
        crowd(&world, 5000).await;
        assert!(world.store.delete_user(ada).await.unwrap());
        let config = Config::load(None, world.auth_settings()).unwrap();
        let mut replicas = Vec::new();
        for _ in 0..3 {
            replicas.push(Store::open_existing(&config.database, world.clock.clone()).await.unwrap());
        }
        // The service that runs is one more.
        world.clock.advance(61);
        join_all(replicas.iter().map(|store| forget(store, ada))).await;
        join_all(replicas.iter().map(Store::close)).await;
        until("the rest is forgotten", async || is_forgotten(&world).await).await;
        assert_eq!((sessions(&world).await, named(&world).await), (1, 0));
        assert!(is_live(&world.store, &kept).await);
        assert_eq!(credentials(&world.store, "grace").await.user, grace);
    }

    /// What was in flight at the deletion may still tell of it.
    async fn nothing_is_forgotten_for_ever_within_the_first_minute(world) {
        let ada = user(&world.store, "ada").await;
        assert!(world.store.deleted_users(None, 10).await.unwrap().is_empty());
        assert!(world.store.delete_user(ada).await.unwrap());
        world.clock.advance(50);
        assert!(world.store.deleted_users(None, 10).await.unwrap().is_empty());
        world.clock.advance(11);
        until("the rest is forgotten", async || is_forgotten(&world).await).await;
    }

    async fn a_login_that_began_before_a_deletion_opens_nothing(world) {
        let ada = user(&world.store, "ada").await;
        let before = credentials(&world.store, "ada").await;
        assert!(world.store.delete_user(ada).await.unwrap());
        assert!(world.store.open_session(session(&before)).await.unwrap().is_none());
        assert!(world.store.credentials_of(ada).await.unwrap().is_none());
        assert!(!world.store.rehash_password(ada, "hash".to_owned(), "new".to_owned()).await.unwrap());
        assert!(!world.store.delete_user(ada).await.unwrap());
        for done in [
            world.store.set_enabled(ada, true).await,
            world.store.set_password(ada, "new".to_owned()).await,
            world.store.set_roles(ada, vec!["admin".to_owned()]).await,
        ] {
            assert!(!done.unwrap());
        }
        let key = names::username("countess").unwrap();
        let new = NewNames { username: NameChange::Set("countess".to_owned(), key), email: NameChange::Keep };
        assert_eq!(world.store.change_names(ada, new).await.unwrap(), Renaming::Unknown);
        assert!(world.store.list_users(None, 10).await.unwrap().is_empty());
        assert_eq!(sessions(&world).await, 0);
        user(&world.store, "ada").await;
    }

    /// Neither a program of before nor a hand.
    async fn nothing_brings_a_deleted_user_back_and_nobody_is_deleted_in_part(world) {
        let ada = user(&world.store, "ada").await;
        for sql in [
            "update users set deleted_at = 1",
            "update users set deleted_at = 1, enabled = (1 = 0)",
            "update users set deleted_at = 1, enabled = (1 = 0), username = '', username_key = 'x'",
        ] {
            let said = refused(&world, sql).await;
            assert!(said.contains("deleted in part"), "{said}");
        }
        assert!(world.store.delete_user(ada).await.unwrap());
        for sql in [
            "update users set deleted_at = null",
            "update users set enabled = (1 = 1)",
            "update users set username = 'ada', username_key = 'ada'",
            "update users set email = 'ada@example.com', email_key = 'ada@example.com'",
            "update users set password_hash = 'x'",
        ] {
            let said = refused(&world, sql).await;
            assert!(said.contains("nothing brings one back") || said.contains("is deleted"), "{said}");
        }
        // As a restore does.
        world.database.execute("update users set version = version + 1").await;
    }

    async fn whoever_deletes_by_hand_is_told_of_too(world) {
        user(&world.store, "ada").await;
        world.database.execute("delete from users").await;
        let told = "select count(*) from events where kind = 'user-deleted' and user_id is not null";
        assert_eq!(count(&world, told).await, 1);
    }

    async fn an_account_is_renamed_only_for_whoever_has_a_session(world) {
        user(&world.store, "ada").await;
        let own = open(&world.store, "ada").await;
        let new = |name: &str| NewNames {
            username: NameChange::Set(name.to_owned(), names::username(name).unwrap()),
            email: NameChange::Keep,
        };
        let done = world.store.change_own_names(caller(&own), new("countess")).await.unwrap();
        let Renaming::Done { user, renamed: true, email_changed: false } = done else { panic!("{done:?}") };
        assert_eq!(user.username.as_deref(), Some("countess"));
        let done = world.store.change_own_names(caller(&own), new("countess")).await.unwrap();
        assert!(matches!(done, Renaming::Done { renamed: false, email_changed: false, .. }), "{done:?}");
        assert!(world.store.end_all_sessions(caller(&own)).await.unwrap());
        let done = world.store.change_own_names(caller(&own), new("ada")).await.unwrap();
        assert_eq!(done, Renaming::Unknown);
        assert_eq!(world.store.delete_own_account(caller(&own)).await.unwrap(), None);
    }
}

/// What the database says to a statement that it refuses.
async fn refused(world: &World, sql: &'static str) -> String {
    let error = match world.database.kind() {
        Kind::Postgres => world.database.postgres().await.execute(sql).await.map(drop),
        Kind::Sqlite => world.database.sqlite().await.execute(sql).await.map(drop),
    };
    error.expect_err(sql).to_string()
}
