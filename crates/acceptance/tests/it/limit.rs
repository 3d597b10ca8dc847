//! How many live sessions a user may have, and users who have very many all the same.

use std::collections::HashSet;

use auth_service::store::{EndReason, Grant, NewPassword, OtherSessions, RotationOutcome, Store};
use claims::Revoked;
use futures_util::future::join_all;
use serde_json::json;
use testbed::{Answer, Kind, PASSWORD, Tokens, World, on_both_databases};

use crate::store::{caller, credentials, is_live, open, revoked, rotate, session, user};

/// Opens a session for a user who may have `most`.
async fn open_of(store: &Store, name: &str, most: u32) -> Grant {
    let mut new = session(&credentials(store, name).await);
    new.max_sessions = most;
    store.open_session(new).await.unwrap().unwrap()
}

/// Which of them are live, by their places.
async fn live(store: &Store, grants: &[&Grant]) -> Vec<usize> {
    let mut live = Vec::new();
    for (place, grant) in grants.iter().enumerate() {
        if is_live(store, grant).await {
            live.push(place);
        }
    }
    live
}

async fn count_live(world: &World) -> i64 {
    world.database.number("select count(*) from sessions where revoked_at is null").await
}

/// Gives Ada 10,000 sessions more, none of them ever refreshed, as from before there was a bound.
async fn crowd(world: &World) {
    world
        .database
        .execute(
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < 10000) \
             insert into sessions (id, user_id, client_id, scope, subject_version, \
                idle_expires_at, expires_at, auth_time, amr, created_at) \
             select 'AAAAAAAAAAA' || cast(1000000000 + n.i as text) || 'A', u.id, 'web', \
                'profile', u.version, 9999999999999, 9999999999999, 1, 'pwd', n.i \
             from n, users u where u.username_key = 'ada'",
        )
        .await;
}

/// The same, long ended.
async fn crowd_of_ended(world: &World) {
    crowd(world).await;
    world
        .database
        .execute("update sessions set revoked_at = 1, revoke_reason = 'logout' where created_at <= 10000")
        .await;
    world.database.execute("delete from revocations").await;
}

async fn told_of_limit(world: &World) -> i64 {
    let sql = "select count(*) from events where kind = 'session-ended' and reason = 'limit'";
    world.database.number(sql).await
}

on_both_databases! {
    async fn beyond_the_limit_what_was_never_refreshed_ends_first(world) {
        let store = &world.store;
        user(store, "ada").await;
        let mut opened = Vec::new();
        for _ in 0..4 {
            opened.push(open(store, "ada").await);
            world.clock.advance(60);
        }
        let [a, b, c, d] = &opened[..] else { unreachable!() };
        assert!(matches!(rotate(store, a, 1).await, RotationOutcome::Rotated(_)));
        world.clock.advance(60);
        assert!(matches!(rotate(store, d, 1).await, RotationOutcome::Rotated(_)));
        // Five for four places: B and C were never refreshed, and B is older.
        let e = open_of(store, "ada", 4).await;
        assert_eq!(live(store, &[a, b, c, d, &e]).await, [0, 2, 3, 4]);
        assert_eq!(rotate(store, b, 1).await, RotationOutcome::Ended(EndReason::Limit));
        // Then C and E, and of the refreshed ones the one that was not used for longer.
        world.clock.advance(60);
        let f = open_of(store, "ada", 2).await;
        assert_eq!(live(store, &[a, b, c, d, &e, &f]).await, [3, 5]);
        // The new one stays, whatever else was used.
        let g = open_of(store, "ada", 1).await;
        assert_eq!(live(store, &[d, &f, &g]).await, [2]);

        let ended = [a, b, c, d, &e, &f].map(|grant| Revoked::Session { id: grant.session_id });
        assert_eq!(revoked(store).await, HashSet::from(ended));
        assert_eq!(world.database.number("select count(*) from revocations").await, 6, "each once");
        assert_eq!(told_of_limit(&world).await, 6);
    }

    async fn only_ones_own_live_sessions_count(world) {
        let store = &world.store;
        user(store, "ada").await;
        user(store, "grace").await;
        let somebodys = [open(store, "grace").await, open(store, "grace").await];
        let ended = open(store, "ada").await;
        store.end_session(ended.session_id, EndReason::Logout).await.unwrap();
        let before = open(store, "ada").await;
        assert!(store.end_all_sessions(caller(&before)).await.unwrap());
        open(store, "ada").await;
        world.clock.advance(7 * 86_400 + 1);
        let kept = open_of(store, "ada", 2).await;
        // What it replaces makes room for it.
        let replaced = open_of(store, "ada", 2).await;
        let mut new = session(&credentials(store, "ada").await);
        (new.max_sessions, new.replaces) = (2, Some(replaced.session_id));
        let new = store.open_session(new).await.unwrap().unwrap();
        assert_eq!(live(store, &[&kept, &replaced, &new]).await, [0, 2]);
        assert_eq!(told_of_limit(&world).await, 0, "the expired, ended and former ones do not count");
        assert_eq!(rotate(store, &replaced, 1).await, RotationOutcome::Ended(EndReason::Logout));
        let grace = open_of(store, "grace", 1).await;
        assert_eq!(live(store, &[&somebodys[0], &somebodys[1], &grace, &kept, &new]).await, [2, 3, 4]);
    }

    async fn of_many_logins_at_once_exactly_as_many_stay_as_may(world) {
        let store = &world.store;
        user(store, "ada").await;
        for _ in 0..95 {
            open_of(store, "ada", 100).await;
        }
        assert_eq!(count_live(&world).await, 95);
        let opened = join_all((0..20).map(|_| open_of(store, "ada", 100))).await;
        assert_eq!(count_live(&world).await, 100);
        assert!(is_live(store, opened.iter().max_by_key(|grant| grant.now).unwrap()).await);
        assert_eq!(told_of_limit(&world).await, 15);
    }

    /// As a client sees it, with the setting as it is.
    async fn the_hundred_and_first_login_ends_the_first_and_says_why(world) {
        let first = world.newcomer("ada").await;
        let second = world.login("ada").await;
        let second = Tokens::of(&world.refresh(&second.refresh).await);
        for _ in 0..98 {
            world.login("ada").await;
        }
        assert_eq!(count_live(&world).await, 100);
        assert_eq!(world.get_as(&first.access, "/me").await.status, 200);
        let last = world.login("ada").await;
        let answer = world.refresh(&first.refresh).await;
        answer.assert_problem(401, "session-revoked");
        assert_eq!(answer.json()["reason"], "limit");
        world.until_refused(&first.access).await;
        assert_eq!(world.whoami(&second.access).await.status, 200);
        assert_eq!(count_live(&world).await, 100);
        let events = world.get_as(&last.access, "/sessions/events").await.json();
        let told = events["events"].as_array().unwrap().iter().any(|event| {
            event["reason"] == "limit" && event["session_id"] == first.session.as_str()
        });
        assert!(told, "{events}");
    }

    async fn a_login_ends_many_at_once_but_not_all_who_came_before_the_limit(world) {
        user(&world.store, "ada").await;
        let own = open(&world.store, "ada").await;
        assert!(matches!(rotate(&world.store, &own, 1).await, RotationOutcome::Rotated(_)));
        crowd(&world).await;
        let new = open_of(&world.store, "ada", 100).await;
        assert_eq!(count_live(&world).await, 10_002 - 2000);
        assert_eq!(live(&world.store, &[&own, &new]).await, [0, 1]);
    }

    async fn who_is_above_the_limit_is_found_and_trimmed(world) {
        let store = &world.store;
        let ada = user(store, "ada").await;
        let grace = user(store, "grace").await;
        for name in ["eve", "mallory"] {
            user(store, name).await;
        }
        let own = open(store, "ada").await;
        assert!(matches!(rotate(store, &own, 1).await, RotationOutcome::Rotated(_)));
        let graces = join_all((0..3).map(|_| open(store, "grace"))).await;
        crowd(&world).await;
        let mut found = Vec::new();
        let (mut after, mut steps) = (None, 0);
        loop {
            let (crowded, next) = store.crowded_users(after, 3, 2).await.unwrap();
            found.extend(crowded);
            steps += 1;
            if next.is_none() { break }
            after = next;
        }
        assert_eq!((found, steps), (vec![ada], 3));
        while store.trim_sessions(ada, 3, 3000).await.unwrap() > 0 {}
        assert_eq!(store.trim_sessions(grace, 3, 3000).await.unwrap(), 0);
        assert_eq!(count_live(&world).await, 6);
        assert!(is_live(store, &own).await, "the only one that was ever used");
        assert!(graces.len() == 3 && is_live(store, &graces[0]).await);
        assert_eq!(told_of_limit(&world).await, 10_001 - 3);
        assert_eq!(revoked(store).await.len(), 10_001 - 3);
    }

    async fn any_number_of_other_sessions_is_ended_and_announced(world) {
        let store = &world.store;
        user(store, "ada").await;
        let own = open(store, "ada").await;
        let other = open(store, "ada").await;
        crowd(&world).await;
        // A refresh between the steps does no harm: the token was judged at the first.
        let by_token = auth_service::store::Caller { generation: Some(1), ..caller(&own) };
        let (ended, rotated) = tokio::join!(store.end_other_sessions(by_token), rotate(store, &own, 1));
        assert!(ended.unwrap() && matches!(rotated, RotationOutcome::Rotated(_)));
        assert_eq!(live(store, &[&own, &other]).await, [0]);
        assert_eq!(count_live(&world).await, 1);
        assert_eq!(revoked(store).await.len(), 10_001);
        assert_eq!(world.database.number("select count(*) from revocations").await, 10_001);
    }

    async fn a_password_change_ends_any_number_of_other_sessions(world) {
        let store = &world.store;
        let ada = user(store, "ada").await;
        let own = open(store, "ada").await;
        crowd(&world).await;
        let read = credentials(store, "ada").await;
        let change = |hash: &str| NewPassword {
            session: own.session_id,
            user: ada,
            password_version: read.password_version,
            password_hash: hash.to_owned(),
            sessions: OtherSessions::Others,
        };
        // Logins with the old password go on meanwhile; none of them survives.
        let opening = async {
            let mut opened = Vec::new();
            while let Some(grant) = store.open_session(session(&read)).await.unwrap() {
                opened.push(grant);
            }
            opened
        };
        let (opened, changed) = tokio::join!(opening, store.change_password(change("other")));
        assert!(changed.unwrap());
        for grant in &opened {
            assert!(!is_live(store, grant).await);
        }
        assert!(is_live(store, &own).await);
        assert_eq!(count_live(&world).await, 1);
        assert_eq!(credentials(store, "ada").await.password_hash, "other");
        assert!(!store.change_password(change("third")).await.unwrap(), "it was changed meanwhile");
    }

    /// As a client sees it.
    async fn whoever_has_ten_thousand_sessions_logs_out_of_the_others(world) {
        let own = world.newcomer("ada").await;
        crowd(&world).await;
        let body = json!({"refresh_token": own.refresh, "sessions": "others"});
        let answer = world.post("/logout", &body).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        assert_eq!(count_live(&world).await, 1);
        crowd_again(&world).await;
        let change = json!({"current_password": PASSWORD, "new_password": "another ordinary sentence"});
        let answer = world.post_as(&own.access, "/password", &change).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        assert_eq!(count_live(&world).await, 1);
        assert_eq!(world.refresh(&own.refresh).await.status, 200);
    }

    /// They are looked for among what was not ended.
    async fn beside_very_many_ended_sessions_a_user_does_everything(world) {
        let own = world.newcomer("ada").await;
        crowd_of_ended(&world).await;
        let other = world.login("ada").await;
        let listed = world.get_as(&own.access, "/sessions").await.json();
        assert_eq!(listed["sessions"].as_array().unwrap().len(), 2);
        assert_eq!(world.logout(&own.refresh, "others").await.status, 204);
        world.until_refused(&other.access).await;
        assert_eq!(world.database.number("select count(*) from revocations").await, 1, "only what it ended");
        assert_eq!(world.database.number("select count(*) from sessions where revoked_at = 1").await, 10_000);
    }

    async fn ones_own_session_is_listed_also_when_a_hundred_are_newer(world) {
        world.set("AUTH__TOKENS__MAX_SESSIONS", "0");
        world.restart().await;
        let own = world.newcomer("ada").await;
        crowd(&world).await;
        world.database.execute("update sessions set created_at = created_at + 9000000000000 \
            where created_at <= 10000").await;
        let listed = world.get_as(&own.access, "/sessions").await.json();
        let sessions = listed["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 100);
        let current: Vec<_> = sessions.iter().filter(|one| one["current"] == true).collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0]["id"], own.session.as_str());
        let created: Vec<_> = sessions.iter().map(|one| one["created_at"].as_str().unwrap()).collect();
        assert!(created.is_sorted_by(|a, b| a >= b), "newest first: {created:?}");
    }

    async fn every_session_is_on_one_page_and_ones_own_on_the_first(world) {
        world.set("AUTH__TOKENS__MAX_SESSIONS", "0");
        world.restart().await;
        let own = world.newcomer("ada").await;
        // All of them newer, and three at each moment.
        world.database.execute(
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < 250) \
             insert into sessions (id, user_id, client_id, scope, subject_version, \
                idle_expires_at, expires_at, auth_time, amr, created_at) \
             select 'AAAAAAAAAAA' || cast(1000000000 + n.i as text) || 'A', u.id, 'web', \
                'profile', u.version, 9999999999999, 9999999999999, 1, 'pwd', \
                9000000000000 + n.i / 3 \
             from n, users u where u.username_key = 'ada'",
        )
        .await;
        let (mut pages, mut path) = (Vec::new(), "/sessions".to_owned());
        loop {
            let page = world.get_as(&own.access, &path).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let page = page.json();
            let sessions = page["sessions"].as_array().unwrap();
            let created: Vec<_> = sessions.iter().map(|one| one["created_at"].as_str().unwrap()).collect();
            assert!(created.is_sorted_by(|a, b| a >= b), "newest first: {created:?}");
            let ids = sessions.iter().map(|one| one["id"].as_str().unwrap().to_owned());
            pages.push(ids.collect::<Vec<_>>());
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/sessions?after={next}");
            // The place is one, whatever becomes of the session before it: here the last one but one's own.
            let last = pages.last().unwrap().iter().rfind(|id| **id != own.session).unwrap();
            let gone = format!("{}/sessions/{last}", world.auth);
            let gone = Answer::to(world.http.delete(gone).bearer_auth(&own.access)).await;
            assert_eq!(gone.status, 204);
        }
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 51]);
        assert!(pages[0].contains(&own.session));
        let all: HashSet<_> = pages.concat().into_iter().collect();
        assert_eq!(all.len(), 251, "none is there twice, and none is missing");
        for after in ["", "x", "1", "1.x", "1.AAAAAAAAAAAAAAAAAAAAAA.", "1.AAAAAAAAAAAAAAAAAAAAAA&after=1"] {
            let answer = world.get_as(&own.access, &format!("/sessions?after={after}")).await;
            answer.assert_problem(400, "invalid-request");
        }
        assert_eq!(world.get_as(&own.access, "/sessions?x=1").await.status, 200);
    }
}

/// Ending 2000 of the crowd takes more than two seconds from now on, and ending all of it twelve.
async fn slow_down(world: &World) {
    world
        .database
        .execute(
            "create function slow() returns trigger language plpgsql as \
             $$ begin perform pg_sleep(2.4); return new; end $$",
        )
        .await;
    world
        .database
        .execute(
            "create trigger slow before update of revoked_at on sessions for each row \
             when (new.revoked_at is not null and old.created_at % 2000 = 0) execute function slow()",
        )
        .await;
}

/// The database answers all the while; there is just much to do. Whoever asks again meanwhile waits for
/// the others' steps.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_long_for_the_end_of_the_others_is_told_that_it_is_done() {
    let world = World::start(Kind::Postgres).await;
    let own = world.newcomer("ada").await;
    crowd(&world).await;
    slow_down(&world).await;
    let five = (0..5).map(|_| world.logout(&own.refresh, "others"));
    let done = join_all(five).await;
    let statuses: Vec<_> = done.iter().map(|one| one.status).collect();
    assert_eq!(statuses, [204; 5], "{}", done[0].text);
    assert_eq!(count_live(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_long_for_a_password_change_is_told_that_it_is_done() {
    let world = World::start(Kind::Postgres).await;
    let own = world.newcomer("ada").await;
    crowd(&world).await;
    slow_down(&world).await;
    let change = json!({"current_password": PASSWORD, "new_password": "another ordinary sentence"});
    let answer = world.post_as(&own.access, "/password", &change).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(count_live(&world).await, 1);
}

async fn crowd_again(world: &World) {
    world.database.execute("delete from sessions where created_at <= 10000").await;
    crowd(world).await;
}
