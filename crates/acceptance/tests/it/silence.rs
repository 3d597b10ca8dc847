//! A database that falls silent in the middle: connections that stay open and say nothing more, as
//! when a host dies or a firewall forgets.

use std::time::{Duration, Instant};

use acceptance::link::Mode;
use acceptance::{Database, Kind, Link, Tokens, World};
use futures_util::future::join_all;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_keeps_no_connection_and_no_shutdown() {
    let database = Database::create(Kind::Postgres).await;
    let link = Link::start(database.server()).await;
    let url = database.url_by(&link);
    let settings =
        [("AUTH__DATABASE__URL", url.as_str()), ("AUTH__DATABASE__MAX_CONNECTIONS", "2")];
    let mut world = World::start_with(Kind::Postgres, &settings).await;
    let tokens = world.newcomer("ada").await;
    // Every connection of the pool is in use, and so will be muted in the middle.
    join_all((0..8).map(|_| world.refresh(&tokens.refresh))).await;
    link.silence();
    let begun = Instant::now();
    let answers = join_all((0..20).map(|_| world.refresh(&tokens.refresh))).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "everybody is answered");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.assert_problem(503, "unavailable");
    }
    // New connections work, so the service comes back by itself, and the token is still good.
    assert_eq!(refreshed(&world, &tokens, begun).await.session, tokens.session);
    let stopping = Instant::now();
    world.restart().await;
    assert!(stopping.elapsed() < Duration::from_secs(20), "it stops all the same");
}

/// A connection on its way back into the pool is asked whether it still answers, and the moment in
/// which it falls silent can be that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_while_it_is_given_back_is_replaced() {
    const REPLY: Duration = Duration::from_millis(200);
    let database = Database::create(Kind::Postgres).await;
    let link = Link::start(database.server()).await;
    let url = database.url_by(&link);
    // One for logins, and so one for everything else.
    let settings =
        [("AUTH__DATABASE__URL", url.as_str()), ("AUTH__DATABASE__MAX_CONNECTIONS", "2")];
    let world = World::start_with(Kind::Postgres, &settings).await;
    let mut tokens = world.newcomer("ada").await;
    // In the middle of the first question after the answer, and of a second one if there is one.
    for moment in [REPLY / 2, REPLY * 3 / 2] {
        tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        link.set(Mode::DelayReplies(REPLY));
        tokens = Tokens::of(&world.refresh(&tokens.refresh).await);
        tokio::time::sleep(moment).await;
        link.silence();
        link.set(Mode::Pass);
        tokens = refreshed(&world, &tokens, Instant::now()).await;
    }
}

/// The successors of `tokens`, as soon as the service gives some, which is within half a minute.
async fn refreshed(world: &World, tokens: &Tokens, begun: Instant) -> Tokens {
    loop {
        let answer = world.refresh(&tokens.refresh).await;
        if answer.status == 200 {
            break Tokens::of(&answer);
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", answer.text);
    }
}
