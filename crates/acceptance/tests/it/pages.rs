//! Pages with the usual interceptor and no lock: of ten calls that are refused at once each takes the
//! newest refresh token that there is, refreshes by itself, and keeps what it is given. Nobody may be
//! logged out by that, in whatever order requests and replies arrive.

use fastrand::Rng;
use serde_json::json;
use testbed::{Answer, Browser, Kind, PASSWORD, Tokens, World};

const CALLS: usize = 10;
/// However slow the machine is, a page is done within the window.
const WINDOW: [(&str, &str); 1] = [("AUTH__TOKENS__GRACE_SECONDS", "300")];

/// A page, with the refresh token in its storage or in its cookie jar.
struct Page<'a> {
    world: &'a World,
    /// What tabs and calls share.
    storage: Option<String>,
    browser: Browser,
    by_cookie: bool,
}

impl<'a> Page<'a> {
    async fn open(world: &'a World, name: &str, by_cookie: bool) -> Self {
        world.register(name).await;
        let browser = world.browser();
        let storage = if by_cookie {
            assert_eq!(browser.login(name, PASSWORD).await.status, 200);
            browser.cookie()
        } else {
            Some(world.login(name).await.refresh)
        };
        Self { world, storage, browser, by_cookie }
    }

    /// A refresh with a token that was taken out of the storage before.
    async fn refresh(&self, token: &str) -> Answer {
        if self.by_cookie {
            self.browser.set_cookie(token);
            self.browser.send("/refresh", &json!({})).await
        } else {
            self.world.refresh(token).await
        }
    }

    /// The reply has arrived.
    async fn keep(&mut self, answer: &Answer) {
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.storage = if self.by_cookie {
            self.browser.take(answer);
            self.browser.cookie()
        } else {
            Some(Tokens::of(answer).refresh)
        };
        let access: String = answer.member("access_token");
        assert_eq!(self.world.whoami(&access).await.status, 200, "the call goes through");
    }

    fn token(&self) -> String {
        self.storage.clone().expect("there is a token")
    }

    /// Long after, the page goes on with what is in its storage.
    async fn goes_on(&mut self) {
        self.world.clock.advance(700);
        let answer = self.refresh(&self.token()).await;
        self.keep(&answer).await;
    }
}

/// What a call does next.
enum Step {
    Take,
    Refresh(String),
    Keep(Answer),
}

async fn in_any_order(kind: Kind, by_cookie: bool) {
    let world = World::start_with(kind, &WINDOW).await;
    for seed in 0..30 {
        let mut rng = Rng::with_seed(seed);
        let mut page = Page::open(&world, &format!("user {seed}"), by_cookie).await;
        // Its first access token has run out.
        world.clock.advance(700);
        let mut calls: Vec<_> = (0..CALLS).map(|_| Step::Take).collect();
        while !calls.is_empty() {
            let call = calls.swap_remove(rng.usize(..calls.len()));
            calls.extend(match call {
                Step::Take => Some(Step::Refresh(page.token())),
                Step::Refresh(token) => Some(Step::Keep(page.refresh(&token).await)),
                Step::Keep(answer) => {
                    page.keep(&answer).await;
                    None
                }
            });
        }
        page.goes_on().await;
    }
    assert_eq!(world.database.number("select count(*) from revocations").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_calls_without_a_lock_stay_logged_in_in_any_order_by_body() {
    in_any_order(Kind::Postgres, false).await;
    in_any_order(Kind::Sqlite, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_calls_without_a_lock_stay_logged_in_in_any_order_by_cookie() {
    in_any_order(Kind::Postgres, true).await;
    in_any_order(Kind::Sqlite, true).await;
}

/// The worst order: each call but the last takes its token when the one before it has been answered,
/// and the last one, which took the first token of all, arrives last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slowest_of_ten_calls_is_not_taken_for_a_thief() {
    for (kind, by_cookie) in [
        (Kind::Postgres, false),
        (Kind::Sqlite, false),
        (Kind::Postgres, true),
        (Kind::Sqlite, true),
    ] {
        let world = World::start_with(kind, &WINDOW).await;
        let mut page = Page::open(&world, "ada", by_cookie).await;
        world.clock.advance(700);
        let slowest = page.token();
        for _ in 1..CALLS {
            let answer = page.refresh(&page.token()).await;
            page.keep(&answer).await;
        }
        let answer = page.refresh(&slowest).await;
        page.keep(&answer).await;
        assert_eq!(world.database.number("select generation from sessions").await, 2);
        page.goes_on().await;
        assert_eq!(world.database.number("select generation from sessions").await, 3);
    }
}

/// Without a window nothing is forgiven: every refresh rotates, and the slow call is a replay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_window_every_refresh_rotates_by_either_transport() {
    for (kind, by_cookie) in [(Kind::Postgres, false), (Kind::Sqlite, true)] {
        let world = World::start_with(kind, &[("AUTH__TOKENS__GRACE_SECONDS", "0")]).await;
        let mut page = Page::open(&world, "ada", by_cookie).await;
        let slowest = page.token();
        for _ in 0..3 {
            let before = page.token();
            let answer = page.refresh(&before).await;
            page.keep(&answer).await;
            assert_ne!(page.token(), before);
        }
        page.refresh(&slowest).await.assert_problem(401, "token-reused");
    }
}
