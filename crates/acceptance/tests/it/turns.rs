//! One user's writes hold nobody else up, however many they are at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use auth_service::store::{Caller, EndReason, Removal, RotationOutcome};
use claims::SessionId;
use futures_util::future::{join_all, select_all};
use sqlx::Executor as _;
use testbed::{Answer, Kind, Tokens, World, on_both_databases};

use crate::store::{caller, credentials, is_live, open, rotate, session, user};

const MANY: usize = 200;

/// A request of Eve's: every other one ends a session that is not there, with an access token, and the
/// rest end all others, with a refresh token, which does not say whose it is.
async fn something_of(world: &World, eve: &Tokens, number: usize) -> Answer {
    if number.is_multiple_of(2) {
        let address = format!("{}/sessions/AAAAAAAAAAAAAAAAAAAAAA", world.auth);
        Answer::to(world.http.delete(address).bearer_auth(&eve.access)).await
    } else {
        world.logout(&eve.refresh, "others").await
    }
}

on_both_databases! {
    /// Whoever comes after them is not behind them in the line for a connection.
    async fn somebody_else_is_served_before_one_users_many_writes_are(world) {
        let store = &world.store;
        let eve = user(store, "eve").await;
        user(store, "bob").await;
        let (eves, bobs) = (open(store, "eve").await, open(store, "bob").await);
        let unknown = SessionId::from_bytes([1; 16]);
        let by_eve = Caller { user: Some(eve), ..caller(&eves) };
        let done = AtomicUsize::new(0);
        let many = join_all((0..MANY).map(|_| async {
            let removal = store.remove_session(by_eve, unknown).await;
            done.fetch_add(1, Ordering::SeqCst);
            removal
        }));
        let bob = async {
            assert!(matches!(rotate(store, &bobs, 1).await, RotationOutcome::Rotated(_)));
            store.end_session(bobs.session_id, EndReason::Logout).await.unwrap();
            done.load(Ordering::SeqCst)
        };
        let (removals, before) = tokio::join!(many, bob);
        assert!(before < MANY / 2, "Bob waited for {before} of Eve's requests");
        assert!(removals.into_iter().all(|one| matches!(one, Ok(Removal::NotFound))), "none is refused");
    }

    /// The same of logins, which end sessions too.
    async fn somebody_elses_login_is_served_before_one_users_many_are(world) {
        let store = &world.store;
        user(store, "eve").await;
        user(store, "bob").await;
        let (eve, bob) = (credentials(store, "eve").await, credentials(store, "bob").await);
        let done = AtomicUsize::new(0);
        let many = join_all((0..MANY).map(|_| async {
            let mut new = session(&eve);
            new.max_sessions = 10;
            let opened = store.open_session(new).await;
            done.fetch_add(1, Ordering::SeqCst);
            opened
        }));
        let bob = async {
            let opened = store.open_session(session(&bob)).await.unwrap().unwrap();
            (opened, done.load(Ordering::SeqCst))
        };
        let (opened, (bobs, before)) = tokio::join!(many, bob);
        assert!(before < MANY / 2, "Bob waited for {before} of Eve's logins");
        assert!(opened.into_iter().all(|one| matches!(one, Ok(Some(_)))), "none is refused");
        assert!(is_live(store, &bobs).await);
    }
}

/// While something outside holds the user's row, all of the user's requests wait for it. They hold one
/// connection, not all.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_row_is_locked_keeps_one_connection_busy() {
    let world = World::start(Kind::Postgres).await;
    let (eve, bob) = (world.newcomer("eve").await, world.newcomer("bob").await);
    let pool = world.database.postgres().await;
    let mut lock = pool.begin().await.unwrap();
    lock.execute("select 1 from users where username_key = 'eve' for update").await.unwrap();
    let mut eves: Vec<_> =
        (0..MANY).map(|number| Box::pin(something_of(&world, &eve, number))).collect();
    let bobs = async {
        let next = Tokens::of(&world.refresh(&bob.refresh).await);
        assert_eq!(world.logout(&next.refresh, "others").await.status, 204);
        let other = world.login("bob").await;
        assert_eq!(world.logout(&other.refresh, "current").await.status, 204);
    };
    tokio::select! {
        biased;
        (answer, _, _) = select_all(&mut eves) => {
            panic!("Eve's row is locked, and yet she got {} before Bob got anything", answer.status)
        }
        () = bobs => {}
    }
    lock.rollback().await.unwrap();
    for (number, answer) in join_all(eves).await.into_iter().enumerate() {
        let wanted = if number.is_multiple_of(2) { 404 } else { 204 };
        assert_eq!(answer.status, wanted, "logging out is never refused: {}", answer.text);
    }
    pool.close().await;
}
