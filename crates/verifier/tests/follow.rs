//! Following an issuer over HTTP: what it costs, what it teaches, and what happens when it stops.

mod common;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header::{AUTHORIZATION, LOCATION};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use common::{Mint, SESSION, SUBJECT, Service, TOKEN, header, kid, with};
use futures_util::stream::{self, Stream, StreamExt as _};
use latchkey_claims::{Algorithm, RevocationBatch, RevocationEntry, Revoked};
use latchkey_verifier::follow::{FollowError, Follower, Sources, follow};
use latchkey_verifier::{Clock, FeedSecret, MAC_HEADER, PresentedToken, Rejection};
use serde_json::{Value, json};

/// Long enough for a slow machine, and the end of a test that has failed.
const DEADLINE: Duration = Duration::from_secs(8);
const COOLDOWN: Duration = Duration::from_millis(300);
const SECRET: &str = "feed-secret";

/// N-A10, N-A11
#[actix_web::test]
async fn ten_thousand_unknown_keys_cost_one_fetch_per_cooldown() {
    let issuer = Issuer::start();
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    assert_eq!(issuer.state().key_set_fetches, 1);

    let clock = service.verifier.clock();
    let start = clock.elapsed();
    let (algorithm, claims) = (Algorithm::EdDsa, service.claims().to_string());
    let good = service.token(algorithm);
    for n in 0..10_000 {
        let named = with(&header(algorithm), "kid", format!("unknown-{n}")).to_string();
        let hostile = Mint::real().token(algorithm, &named, &claims);
        service.refuses(&hostile, Rejection::UnknownKey, n);
        if n % 100 == 0 {
            service.accepts(&good);
            rt::task::yield_now().await;
        }
    }
    // Only then, so that no fetch still due goes uncounted.
    until(|| issuer.state().key_set_fetches > 1).await;
    let allowed = 1 + clock.elapsed().saturating_sub(start).as_millis() / COOLDOWN.as_millis() + 1;
    let fetches = issuer.state().key_set_fetches;
    assert!(fetches as u128 <= allowed, "{fetches} fetches, {allowed} allowed");
    service.accepts(&good);
}

/// N-A08
#[actix_web::test]
async fn an_address_in_a_token_is_never_connected_to() {
    let issuer = Issuer::start();
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    service.accepts(&service.token(Algorithm::EdDsa));

    let bait = Bait::lay();
    let url = bait.url();
    for name in ["jku", "x5u", "iss"] {
        service.refuses_header(Rejection::HeaderMember, |algorithm| {
            with(&header(algorithm), name, url.clone()).to_string()
        });
    }
    let named = |name: &str| with(&service.claims(), name, url.clone()).to_string();
    service.refuses_claims(named("iss"), Rejection::Issuer);
    service.refuses_claims(named("aud"), Rejection::Audience);
    service.accepts_claims(named("status"));
    // Two more answers of the feed: whoever wanted to connect has had the time.
    let asked = issuer.state().asked.len();
    until(|| issuer.state().asked.len() > asked + 2).await;
    assert!(bait.is_untouched());
    assert_eq!(issuer.state().key_set_fetches, 1);
}

#[actix_web::test]
async fn a_redirect_is_not_followed() {
    let bait = Bait::lay();
    let issuer = Issuer::start();
    issuer.state().redirect = Some(bait.url());
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| issuer.state().asked.len() > 2 && issuer.state().key_set_fetches > 2).await;
    assert_eq!(service.verifier.ready(), Err(Rejection::NoKeys));
    assert!(bait.is_untouched());

    issuer.state().redirect = None;
    until(|| service.verifier.ready().is_ok()).await;
}

#[actix_web::test]
async fn a_new_key_is_learned_when_a_token_names_it() {
    let issuer = Issuer::start();
    let all = issuer.state().key_set.clone();
    issuer.state().key_set = json!({"keys": [Mint::real().jwk(Algorithm::Es256)]}).to_string();
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    service.accepts(&service.token(Algorithm::Es256));

    issuer.state().key_set = all;
    let token = service.token(Algorithm::EdDsa);
    service.refuses(&token, Rejection::UnknownKey, "not fetched yet");
    until(|| service.verifier.verify(&PresentedToken::bearer(&token)).is_ok()).await;
    assert_eq!(issuer.state().key_set_fetches, 2);
}

/// An issuer whose database was restored has other keys, before any token names them.
#[actix_web::test]
async fn the_key_set_is_fetched_when_the_feed_begins_anew() {
    let issuer = Issuer::start();
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    assert_eq!(issuer.state().key_set_fetches, 1);

    issuer.state().key_set = json!({"keys": [Mint::real().jwk(Algorithm::Es256)]}).to_string();
    issuer.state().name = "restored";
    let gone = service.token(Algorithm::EdDsa);
    until(|| service.verifier.verify(&PresentedToken::bearer(&gone)).is_err()).await;
    service.accepts(&service.token(Algorithm::Es256));
    assert_eq!(issuer.state().key_set_fetches, 2);
}

#[actix_web::test]
async fn a_key_set_that_is_refused_leaves_the_one_in_force() {
    let issuer = Issuer::start();
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;

    let token = service.token(Algorithm::EdDsa);
    let key = json!(Mint::foreign().jwk(Algorithm::EdDsa));
    let two_of_one_name = json!({"keys": [key, key]}).to_string();
    let too_large = format!("{}{}", json!({"keys": [key]}), " ".repeat(300 * 1024));
    for refused in ["{}".to_owned(), two_of_one_name, too_large] {
        let before = {
            let mut state = issuer.state();
            state.key_set = refused;
            state.key_set_fetches
        };
        let unknown = with(&header(Algorithm::EdDsa), "kid", "unknown").to_string();
        let unknown = Mint::real().token(Algorithm::EdDsa, &unknown, service.claims().to_string());
        service.refuses(&unknown, Rejection::UnknownKey, "wakes the follower");
        until(|| issuer.state().key_set_fetches > before + 1).await;
        service.accepts(&token);
    }
}

/// N-C13
#[actix_web::test]
async fn what_the_feed_says_is_revoked_is_refused() {
    let issuer = Issuer::start();
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    let token = service.token(Algorithm::Es256);
    service.accepts(&token);
    for (revoked, rejection) in [
        (Revoked::Token { id: TOKEN.parse().unwrap() }, Rejection::TokenRevoked),
        (
            Revoked::Subject { id: SUBJECT.parse().unwrap(), min_version: 100 },
            Rejection::SubjectRevoked,
        ),
        (Revoked::Session { id: SESSION.parse().unwrap() }, Rejection::SessionRevoked),
        (Revoked::Key { id: kid(Algorithm::Es256).parse().unwrap() }, Rejection::KeyRevoked),
    ] {
        issuer.revokes(revoked);
        until(|| service.verifier.verify(&PresentedToken::bearer(&token)).err() == Some(rejection))
            .await;
    }
    let state = issuer.state();
    assert_eq!(state.asked[0], "", "it starts without a cursor");
    let places: Vec<&str> = state.asked.iter().skip(1).map(String::as_str).collect();
    for place in ["first-0", "first-1", "first-2", "first-3"] {
        assert!(places.contains(&place), "{place} in {places:?}");
    }
    let bearer = format!("Bearer {}", FeedSecret::new(SECRET).bearer());
    assert_eq!(state.secret, Some(bearer), "the secret itself is never sent");
}

/// F-D1
#[actix_web::test]
async fn entries_of_unknown_kinds_do_not_hide_the_others() {
    let issuer = Issuer::start();
    issuer.state().strange = vec![
        json!({"kind": "claims", "id": SUBJECT, "min_version": 7, "expires_in": 990}),
        json!({"kind": "claims"}),
        json!({"kind": "client", "id": {"of": [1, null]}, "expires_in": "soon"}),
    ];
    issuer.revokes(Revoked::Session { id: SESSION.parse().unwrap() });
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    let token = service.token(Algorithm::Es256);
    service.refuses(&token, Rejection::SessionRevoked, "beside what is not understood");
    assert_eq!(issuer.state().kinds.as_deref(), Some("session,subject,token,key"));

    issuer.revokes(Revoked::Token { id: TOKEN.parse().unwrap() });
    let other = with(&service.claims(), "sid", "AAAAAAAAAAAAAAAAAAAAAA");
    let other = common::token_of(Algorithm::Es256, &other);
    until(|| {
        service.verifier.verify(&PresentedToken::bearer(&other)).err()
            == Some(Rejection::TokenRevoked)
    })
    .await;
}

/// F-D1: an answer that is not understood proves nothing, not even how fresh it is.
#[actix_web::test]
async fn an_entry_that_ought_to_be_understood_is_not_passed_over() {
    for bad in [
        json!({"kind": "subject", "id": SUBJECT}),
        json!({"kind": "session", "id": "not an id", "expires_in": 990}),
        json!({"kind": "key", "id": "k", "expires_in": "soon"}),
        json!({"id": SESSION}),
        json!({"kind": null}),
    ] {
        let issuer = Issuer::start();
        issuer.state().strange = vec![bad.clone()];
        issuer.revokes(Revoked::Session { id: SESSION.parse().unwrap() });
        let service = service();
        let _follower = issuer.followed_by(&service);
        until(|| issuer.state().asked.len() > 2 && service.verifier.keys().loaded()).await;
        assert_eq!(service.verifier.revocation_age(), None, "{bad}");
        assert!(issuer.state().asked.iter().all(String::is_empty), "{bad}: it asks for all again");
        issuer.state().strange.clear();
        until(|| service.verifier.ready().is_ok()).await;
        let token = service.token(Algorithm::Es256);
        service.refuses(&token, Rejection::SessionRevoked, bad);
    }
}

#[actix_web::test]
async fn age_counts_from_when_the_request_was_sent() {
    let issuer = Issuer::start();
    issuer.state().delay = Duration::from_millis(400);
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.revocation_age().is_some()).await;
    let age = service.verifier.revocation_age().unwrap();
    assert!(age >= Duration::from_millis(400), "{age:?}");
}

#[actix_web::test]
async fn age_counts_what_the_issuer_says_of_its_own() {
    let issuer = Issuer::start();
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    let age = Duration::from_millis(300);
    issuer.state().age = age;
    until(|| service.verifier.revocation_age().unwrap() > age).await;
    for _ in 0..20 {
        assert!(service.verifier.revocation_age().unwrap() >= age);
        rt::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix_web::test]
async fn a_service_that_starts_is_not_content_with_what_was_known_before() {
    let issuer = Issuer::start();
    issuer.state().age = Duration::from_secs(20);
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.keys().loaded()).await;
    until(|| issuer.state().asked.len() > 2).await;
    assert_eq!(service.verifier.revocation_age(), None, "20 s are within the bound");
    service.refuses(&service.token(Algorithm::Es256), Rejection::Stale, "but it began just now");
    assert!(!issuer.state().asked[1..].contains(&String::new()), "nothing is told twice");

    issuer.state().age = Duration::ZERO;
    until(|| service.verifier.ready().is_ok()).await;
    service.accepts(&service.token(Algorithm::Es256));
}

#[actix_web::test]
async fn a_feed_that_starts_over_adds_and_takes_nothing_back() {
    let issuer = Issuer::start();
    let service = service();
    let _follower = issuer.followed_by(&service);
    issuer.revokes(Revoked::Session { id: SESSION.parse().unwrap() });
    let token = service.token(Algorithm::Es256);
    until(|| {
        service.verifier.verify(&PresentedToken::bearer(&token)).err()
            == Some(Rejection::SessionRevoked)
    })
    .await;

    {
        let mut state = issuer.state();
        state.name = "second";
        state.entries.clear();
    }
    let other = "AAAAAAAAAAAAAAAAAAAAAA";
    issuer.revokes(Revoked::Session { id: other.parse().unwrap() });
    let other = common::token_of(Algorithm::Es256, &with(&service.claims(), "sid", other));
    until(|| {
        service.verifier.verify(&PresentedToken::bearer(&other)).err()
            == Some(Rejection::SessionRevoked)
    })
    .await;
    service.refuses(&token, Rejection::SessionRevoked, "still");
    until(|| issuer.state().asked.iter().any(|cursor| cursor == "second-1")).await;
}

#[actix_web::test]
async fn when_the_feed_is_dead_tokens_are_refused_once_knowledge_is_too_old() {
    let max_staleness = Duration::from_secs(1);
    let issuer = Issuer::start();
    let service = Service::ignorant(max_staleness, Clock::default());
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    let token = service.token(Algorithm::EdDsa);
    service.accepts(&token);

    issuer.state().dead = true;
    until(|| {
        service.verifier.verify(&PresentedToken::bearer(&token)).err() == Some(Rejection::Stale)
    })
    .await;
    assert!(service.verifier.revocation_age().unwrap() > max_staleness);
    service.refuses("garbage", Rejection::Segments, "bad is bad");

    issuer.state().dead = false;
    until(|| service.verifier.verify(&PresentedToken::bearer(&token)).is_ok()).await;
}

#[actix_web::test]
async fn a_second_feed_is_asked_when_the_first_fails() {
    let first = Issuer::start();
    first.state().dead = true;
    is_served_by_the_second(&first.feed_url()).await;
    assert!(!first.state().asked.is_empty());
}

#[actix_web::test]
async fn a_second_feed_is_asked_when_the_first_is_gone() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    is_served_by_the_second(&format!("http://{gone}/internal/revocations")).await;
}

#[actix_web::test]
async fn a_second_feed_is_asked_when_the_first_hangs() {
    let bait = Bait::lay();
    is_served_by_the_second(&bait.url()).await;
    assert!(!bait.is_untouched());
}

/// F-A3
#[actix_web::test]
async fn a_second_feed_is_asked_when_what_the_first_knows_is_old() {
    let first = Issuer::start();
    // Above a third of three seconds, and within the bound.
    first.state().age = Duration::from_millis(1_500);
    is_served_by_the_second(&first.feed_url()).await;
    assert!(!first.state().asked.is_empty());
}

/// F-A3: long before its age would be reason enough.
#[actix_web::test]
async fn a_feed_is_left_that_no_longer_reads_its_database() {
    let (first, second) = (Issuer::start(), Issuer::start());
    let service = Service::ignorant(Duration::from_mins(10), Clock::default());
    let mut sources = first.sources();
    sources.feed_urls.push(second.feed_url());
    let _follower = follow(&service.verifier, sources).unwrap();
    until(|| service.verifier.ready().is_ok()).await;
    assert!(second.state().asked.is_empty());
    let lost = Clock::default().elapsed();
    first.state().last_read = Some(lost);
    second.revokes(Revoked::Session { id: SESSION.parse().unwrap() });
    let token = service.token(Algorithm::Es256);
    until(|| {
        service.verifier.verify(&PresentedToken::bearer(&token)).err()
            == Some(Rejection::SessionRevoked)
    })
    .await;
    let left = Clock::default().elapsed().saturating_sub(lost);
    assert!(left > Duration::from_secs(1), "not at once: {left:?}");
}

/// F-A3
#[actix_web::test]
async fn when_every_feed_is_stale_the_best_knowledge_is_kept_without_haste() {
    let feeds = [Issuer::start(), Issuer::start()];
    feeds[1].state().name = "second";
    let service = service();
    let mut sources = feeds[0].sources();
    sources.feed_urls.push(feeds[1].feed_url());
    let _follower = follow(&service.verifier, sources).unwrap();
    until(|| service.verifier.ready().is_ok()).await;
    for feed in &feeds {
        feed.state().age = Duration::from_secs(20);
    }
    let asked = || feeds.iter().map(|feed| feed.state().asked.len()).sum::<usize>();
    until(|| !feeds[1].state().asked.is_empty()).await;
    let (before, begun) = (asked(), Clock::default().elapsed());
    rt::time::sleep(Duration::from_secs(2)).await;
    let passed = Clock::default().elapsed().saturating_sub(begun);
    // 50, 100, 200, 400 ms and then twice a second.
    let allowed = 5 + usize::try_from(passed.as_millis()).unwrap() / 500;
    let asked = asked() - before;
    assert!((2..=allowed).contains(&asked), "{asked} questions in {passed:?}");
    let age = service.verifier.revocation_age().unwrap();
    assert!(age < Duration::from_secs(20), "what was known before is not forgotten: {age:?}");
    service.accepts(&service.token(Algorithm::Es256));

    feeds[1].revokes(Revoked::Session { id: SESSION.parse().unwrap() });
    let token = service.token(Algorithm::Es256);
    until(|| {
        service.verifier.verify(&PresentedToken::bearer(&token)).err()
            == Some(Rejection::SessionRevoked)
    })
    .await;
    feeds[0].state().age = Duration::ZERO;
    until(|| service.verifier.revocation_age().is_some_and(|age| age < passed)).await;
}

/// F-A3: something on the way that keeps answers, although it is told not to.
#[actix_web::test]
async fn an_answer_out_of_a_cache_is_not_taken_for_a_fresh_one() {
    let issuer = Issuer::start();
    issuer.state().cache = Some(HashMap::new());
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    let asked = issuer.state().asked.len();
    until(|| issuer.state().asked.len() > asked + 3).await;
    issuer.revokes(Revoked::Session { id: SESSION.parse().unwrap() });
    let token = service.token(Algorithm::Es256);
    until(|| {
        service.verifier.verify(&PresentedToken::bearer(&token)).err()
            == Some(Rejection::SessionRevoked)
    })
    .await;
}

/// F-A3
#[actix_web::test]
async fn the_key_set_is_had_from_another_address_when_one_fails() {
    let bait = Bait::lay();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wrong = Issuer::start();
    wrong.state().key_set = r#"{"keys":[]}"#.to_owned();
    let issuer = Issuer::start();
    let good = issuer.sources().jwks_urls.remove(0);
    for first in [format!("http://{gone}/jwks"), wrong.sources().jwks_urls.remove(0), bait.url()] {
        let service = service();
        let mut sources = issuer.sources();
        sources.jwks_urls = vec![first.clone(), good.clone()];
        let _follower = follow(&service.verifier, sources).unwrap();
        until(|| service.verifier.ready().is_ok()).await;
        service.accepts(&service.token(Algorithm::Es256));

        // And when the one that served fails, with a key set in force, the others are asked soon.
        let fetches = issuer.state().key_set_fetches;
        let unknown = with(&header(Algorithm::EdDsa), "kid", "unknown").to_string();
        let unknown = Mint::real().token(Algorithm::EdDsa, &unknown, service.claims().to_string());
        service.refuses(&unknown, Rejection::UnknownKey, first);
        until(|| issuer.state().key_set_fetches > fetches).await;
    }
    assert!(!bait.is_untouched());
}

/// What somebody on the way may try who does not know the secret. "All is well" is what a spoofer
/// wants to say.
const FORGERIES: [(&str, Forge); 9] = [
    ("made up", |_, _| Answer { code: None, body: all_is_well() }),
    ("made up, under the code of the genuine one", |it, _| Answer { body: all_is_well(), ..it }),
    ("stripped of its code", |it, _| Answer { code: None, ..it }),
    ("the answer before, to another question", |_, before| before.unwrap().clone()),
    ("under the code of the answer before", |it, before| Answer {
        code: before.unwrap().code.clone(),
        ..it
    }),
    ("cut off", |it, _| Answer { body: it.body[..it.body.len() - 1].to_owned(), ..it }),
    ("with a space after it", |it, _| Answer { body: it.body + " ", ..it }),
    ("under a code that is cut off", |it, _| Answer {
        code: it.code.map(|code| code[..62].to_owned()),
        ..it
    }),
    ("under an empty code", |it, _| Answer { code: Some(String::new()), ..it }),
];

/// Of an answer that a follower of the first version takes.
fn all_is_well() -> String {
    let now = Clock::default().now().unix_seconds();
    let batch = RevocationBatch {
        entries: Vec::new(),
        reset: false,
        now,
        age_ms: 1,
        cursor: "first-1".to_owned(),
    };
    json!(batch).to_string()
}

/// F-B6
#[actix_web::test]
async fn nothing_of_an_answer_is_used_that_is_not_proven() {
    for (what, forge) in FORGERIES {
        let issuer = Issuer::start();
        let service = service();
        let _follower = issuer.followed_by(&service);
        until(|| service.verifier.ready().is_ok()).await;
        issuer.state().forge = Some(forge);
        issuer.revokes(Revoked::Session { id: SESSION.parse().unwrap() });
        // What was on its way is over.
        let asked = issuer.state().asked.len();
        until(|| issuer.state().asked.len() > asked + 1).await;
        let since = service.verifier.clock().elapsed();
        let asked = issuer.state().asked.len();
        until(|| issuer.state().asked.len() > asked + 3).await;
        let passed = service.verifier.clock().elapsed().saturating_sub(since);
        assert!(service.verifier.revocation_age().unwrap() >= passed, "{what}: not fresh by it");
        assert_eq!(service.verifier.revocations().len(), 0, "{what}: nothing learnt by it");

        issuer.state().forge = None;
        let token = service.token(Algorithm::Es256);
        until(|| {
            service.verifier.verify(&PresentedToken::bearer(&token)).err()
                == Some(Rejection::SessionRevoked)
        })
        .await;
    }
}

/// F-B6: by the right answer to the wrong question a follower would skip what is between.
#[actix_web::test]
async fn an_answer_to_another_cursor_proves_nothing() {
    let issuer = Issuer::start();
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    // Somebody on the way asks with the follower's nonce and a cursor that is further.
    {
        let revoked = Revoked::Session { id: SESSION.parse().unwrap() };
        let mut state = issuer.state();
        state.entries.push(RevocationEntry { revoked, expires_in: Some(990) });
        state.other_cursor = Some("first-1");
    }
    let asked = issuer.state().asked.len();
    until(|| issuer.state().asked.len() > asked + 3).await;
    assert!(issuer.state().asked.iter().all(|cursor| cursor != "first-1"), "nothing was skipped");
    issuer.state().other_cursor = None;
    let token = service.token(Algorithm::Es256);
    until(|| {
        service.verifier.verify(&PresentedToken::bearer(&token)).err()
            == Some(Rejection::SessionRevoked)
    })
    .await;
}

/// F-B6
#[actix_web::test]
async fn a_feed_with_another_secret_is_not_believed() {
    let issuer = Issuer::start();
    issuer.state().feed_secret = "feed-secret.";
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| issuer.state().asked.len() > 3 && service.verifier.keys().loaded()).await;
    assert_eq!(service.verifier.revocation_age(), None);
    issuer.state().feed_secret = SECRET;
    until(|| service.verifier.ready().is_ok()).await;
}

/// F-B6: who could put a key into the set could sign tokens.
#[actix_web::test]
async fn a_key_set_from_the_internal_listener_is_proven_too() {
    let forgeries: [(&str, Forge); 4] = [
        ("made up", |_, _| Answer { code: None, body: Mint::foreign().key_set_json() }),
        ("made up, under the code of the genuine one", |it, _| Answer {
            body: Mint::foreign().key_set_json(),
            ..it
        }),
        ("stripped of its code", |it, _| Answer { code: None, ..it }),
        ("under another code", |it, _| Answer { code: Some("0".repeat(64)), ..it }),
    ];
    for (what, forge) in forgeries {
        let issuer = Issuer::start();
        issuer.state().forge = Some(forge);
        let service = service();
        let mut sources = issuer.sources();
        sources.jwks_urls = vec![format!("{}/internal/keys", issuer.address)];
        let _follower = follow(&service.verifier, sources).unwrap();
        until(|| issuer.state().key_set_fetches > 2).await;
        assert!(!service.verifier.keys().loaded(), "{what}");
        issuer.state().forge = None;
        until(|| service.verifier.ready().is_ok()).await;
        service.accepts(&service.token(Algorithm::Es256));
    }
}

/// F-B6: an older auth-service proves nothing. Where there is no secret, which is on one machine,
/// nothing needs to be.
#[actix_web::test]
async fn without_a_secret_answers_are_not_proven() {
    let issuer = Issuer::start();
    issuer.state().forge = Some(|it, _| Answer { code: None, ..it });
    let service = service();
    let sources = Sources { feed_secret: None, ..issuer.sources() };
    let _follower = follow(&service.verifier, sources).unwrap();
    until(|| service.verifier.ready().is_ok()).await;
    assert_eq!(issuer.state().secret, None);
}

/// F-B6
#[actix_web::test]
async fn what_could_be_forged_on_the_way_is_not_followed() {
    let issuer = Issuer::start();
    let mut sources = issuer.sources();
    sources.jwks_urls.push("http://auth.internal:8080/.well-known/jwks.json".to_owned());
    let refused = follow(&service().verifier, sources);
    assert!(matches!(refused, Err(FollowError::ForgeableKeys)));
    let mut sources = Sources { feed_secret: None, ..issuer.sources() };
    sources.feed_urls.push("http://auth.internal:9080/internal/revocations".to_owned());
    let refused = follow(&service().verifier, sources);
    assert!(matches!(refused, Err(FollowError::ForgeableFeed)));
}

/// A long list over a slow network: what comes is worth waiting for as long as it comes.
#[actix_web::test]
async fn an_answer_that_takes_its_time_is_read_to_its_end() {
    let issuer = Issuer::start();
    issuer.state().between_pieces = Some(Duration::from_millis(300));
    let service = service();
    let _follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
}

#[actix_web::test]
async fn a_second_feed_is_asked_when_the_first_falls_silent_in_the_middle_of_an_answer() {
    let first = Issuer::start();
    first.state().between_pieces = Some(Duration::from_hours(1));
    is_served_by_the_second(&first.feed_url()).await;
    assert!(!first.state().asked.is_empty());
}

#[actix_web::test]
async fn following_ends_with_the_follower() {
    let issuer = Issuer::start();
    let service = service();
    let follower = issuer.followed_by(&service);
    until(|| service.verifier.ready().is_ok()).await;
    assert_eq!(Arc::strong_count(&service.verifier), 3);
    drop(follower);
    until(|| Arc::strong_count(&service.verifier) == 1).await;
}

#[actix_web::test]
async fn a_feed_is_needed() {
    let sources = Sources::new(vec!["http://127.0.0.1:9/jwks".to_owned()], Vec::new(), None);
    let refused = follow(&service().verifier, sources);
    assert!(matches!(refused, Err(FollowError::NoFeed)));
    let sources = Sources::new(Vec::new(), vec!["http://127.0.0.1:9/feed".to_owned()], None);
    let refused = follow(&service().verifier, sources);
    assert!(matches!(refused, Err(FollowError::NoKeySet)));
}

async fn is_served_by_the_second(first: &str) {
    let second = Issuer::start();
    second.revokes(Revoked::Session { id: SESSION.parse().unwrap() });
    // Of a feed that must be this fresh, an answer is expected within 1.1 seconds.
    let service = Service::ignorant(Duration::from_secs(3), Clock::default());
    let mut sources = second.sources();
    sources.feed_urls.insert(0, first.to_owned());
    let _follower = follow(&service.verifier, sources).unwrap();
    until(|| service.verifier.ready().is_ok()).await;
    service.refuses(&service.token(Algorithm::Es256), Rejection::SessionRevoked, "learned");
    // And it stays there.
    let asked = second.state().asked.len();
    until(|| second.state().asked.len() > asked + 2).await;
}

fn service() -> Service {
    Service::ignorant(Duration::from_secs(30), Clock::default())
}

async fn until(condition: impl Fn() -> bool) {
    let clock = Clock::default();
    let start = clock.elapsed();
    while !condition() {
        assert!(clock.elapsed().saturating_sub(start) < DEADLINE, "it did not happen");
        rt::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What is on the wire.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    code: Option<String>,
    body: String,
}

/// Makes another answer of a genuine one and of the genuine one before it.
type Forge = fn(Answer, Option<&Answer>) -> Answer;

/// An issuer with a key set and a revocation feed, as good or bad as its state says.
struct Issuer {
    state: web::Data<Mutex<State>>,
    address: String,
    server: ServerHandle,
}

struct State {
    key_set: String,
    key_set_fetches: usize,
    feed_secret: &'static str,
    /// Named in cursors. After a change no cursor given out before is known.
    name: &'static str,
    entries: Vec<RevocationEntry>,
    /// What every answer has besides, in front of them.
    strange: Vec<Value>,
    age: Duration,
    /// When the last read of the database began, where it is not read any more.
    last_read: Option<Duration>,
    /// What was answered to each question, where something on the way answers it so again.
    cache: Option<HashMap<String, Value>>,
    delay: Duration,
    /// The feed's answers come in five pieces, with so much time between them.
    between_pieces: Option<Duration>,
    dead: bool,
    redirect: Option<String>,
    /// What somebody on the way makes of each answer of the feed and of `/internal/keys`.
    forge: Option<Forge>,
    /// The question that is answered in place of the one that was asked.
    other_cursor: Option<&'static str>,
    /// The last genuine answer.
    last: Option<Answer>,
    /// The cursors that were asked for.
    asked: Vec<String>,
    /// The kinds that the last question named.
    kinds: Option<String>,
    secret: Option<String>,
}

impl Issuer {
    fn start() -> Self {
        let state = web::Data::new(Mutex::new(State {
            key_set: Mint::real().key_set_json(),
            key_set_fetches: 0,
            feed_secret: SECRET,
            name: "first",
            entries: Vec::new(),
            strange: Vec::new(),
            age: Duration::ZERO,
            last_read: None,
            cache: None,
            delay: Duration::ZERO,
            between_pieces: None,
            dead: false,
            redirect: None,
            forge: None,
            other_cursor: None,
            last: None,
            asked: Vec::new(),
            kinds: None,
            secret: None,
        }));
        let shared = state.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/jwks", web::get().to(key_set))
                .route("/internal/keys", web::get().to(proven_key_set))
                .route("/internal/revocations", web::get().to(revocations))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        rt::spawn(server);
        Self { state, address, server: handle }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn revokes(&self, revoked: Revoked) {
        self.state().entries.push(RevocationEntry { revoked, expires_in: Some(990) });
    }

    fn feed_url(&self) -> String {
        format!("{}/internal/revocations", self.address)
    }

    fn sources(&self) -> Sources {
        let jwks_urls = vec![format!("{}/jwks", self.address)];
        let secret = Some(SECRET.to_owned());
        let sources = Sources::new(jwks_urls, vec![self.feed_url()], secret);
        Sources { key_cooldown: COOLDOWN, ..sources }
    }

    fn followed_by(&self, service: &Service) -> Follower {
        follow(&service.verifier, self.sources()).unwrap()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // The command is sent at once; only the confirmation would be waited for.
        drop(self.server.stop(false));
    }
}

async fn key_set(state: web::Data<Mutex<State>>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    state.key_set_fetches += 1;
    if let Some(url) = &state.redirect {
        return HttpResponse::Found().insert_header((LOCATION, url.as_str())).finish();
    }
    HttpResponse::Ok().content_type(latchkey_claims::jwk::MEDIA_TYPE).body(state.key_set.clone())
}

async fn revocations(
    state: web::Data<Mutex<State>>,
    request: HttpRequest,
    query: web::Query<HashMap<String, String>>,
) -> HttpResponse {
    let cursor = &query["cursor"];
    let delay = {
        let mut state = state.lock().unwrap();
        state.asked.push(cursor.clone());
        state.kinds = query.get("kinds").cloned();
        let secret = request.headers().get(AUTHORIZATION);
        state.secret = secret.map(|secret| secret.to_str().unwrap().to_owned());
        // A long poll of very short patience.
        state.delay.max(Duration::from_millis(10))
    };
    rt::time::sleep(delay).await;
    let mut state = state.lock().unwrap();
    if state.dead {
        return HttpResponse::ServiceUnavailable().finish();
    }
    if let Some(url) = &state.redirect {
        return HttpResponse::Found().insert_header((LOCATION, url.as_str())).finish();
    }
    let cursor = state.other_cursor.unwrap_or(cursor.as_str());
    let known = cursor
        .strip_prefix(state.name)
        .and_then(|place| place.strip_prefix('-'))
        .and_then(|place| place.parse().ok());
    let unread = state.last_read.map(|read| Clock::default().elapsed().saturating_sub(read));
    let age = unread.unwrap_or(state.age);
    let batch = RevocationBatch {
        cursor: format!("{}-{}", state.name, state.entries.len()),
        age_ms: u64::try_from(age.as_millis()).unwrap(),
        now: Clock::default().now().unix_seconds(),
        reset: known.is_none(),
        entries: state.entries[known.unwrap_or(0)..].to_vec(),
    };
    let mut answer = json!(batch);
    let entries = answer["entries"].as_array_mut().unwrap();
    entries.splice(0..0, state.strange.clone());
    if let Some(cache) = &mut state.cache {
        answer = cache.entry(request.query_string().to_owned()).or_insert(answer).clone();
    }
    let nonce = query.get("nonce").map_or("", String::as_str);
    let answer = on_the_wire(&mut state, nonce, cursor, answer.to_string());
    let mut response = HttpResponse::Ok();
    if let Some(code) = &answer.code {
        response.insert_header((MAC_HEADER, code.as_str()));
    }
    match state.between_pieces {
        Some(pause) => response.streaming(in_pieces(&answer.body, pause)),
        None => response.body(answer.body),
    }
}

/// With its code, unless somebody on the way has another idea.
fn on_the_wire(state: &mut State, nonce: &str, cursor: &str, body: String) -> Answer {
    let code = FeedSecret::new(state.feed_secret).code(nonce, cursor, body.as_bytes());
    let genuine = Answer { code: Some(code), body };
    let before = state.last.replace(genuine.clone());
    match state.forge {
        Some(forge) => forge(genuine, before.as_ref()),
        None => genuine,
    }
}

async fn proven_key_set(
    state: web::Data<Mutex<State>>,
    query: web::Query<HashMap<String, String>>,
) -> HttpResponse {
    let mut state = state.lock().unwrap();
    state.key_set_fetches += 1;
    let nonce = query.get("nonce").map_or("", String::as_str);
    let key_set = state.key_set.clone();
    let answer = on_the_wire(&mut state, nonce, "", key_set);
    let mut response = HttpResponse::Ok();
    if let Some(code) = answer.code {
        response.insert_header((MAC_HEADER, code));
    }
    response.body(answer.body)
}

fn in_pieces(
    text: &str,
    pause: Duration,
) -> impl Stream<Item = Result<web::Bytes, Infallible>> + use<> {
    let pieces = text.as_bytes().chunks(text.len().div_ceil(5)).map(web::Bytes::copy_from_slice);
    let pieces: Vec<_> = pieces.enumerate().collect();
    stream::iter(pieces).then(move |(n, piece)| async move {
        rt::time::sleep(if n == 0 { Duration::ZERO } else { pause }).await;
        Ok(piece)
    })
}

/// A listener that answers nobody and knows whether anybody came.
struct Bait(TcpListener);

impl Bait {
    fn lay() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn url(&self) -> String {
        format!("http://{}/", self.0.local_addr().unwrap())
    }

    fn is_untouched(&self) -> bool {
        self.0.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}
