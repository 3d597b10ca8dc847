//! Clients as people write them after reading a tutorial.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::json;
use testbed::{Answer, Browser, PASSWORD, Tokens, World, on_both_databases};

use testbed::on_each_empty_database;
use testbed::service::Service;

/// Posts the login form, keeps both tokens from the JSON, and refreshes when a call is refused.
struct FormClient<'a> {
    world: &'a World,
    access: String,
    refresh: String,
    refreshes: u32,
}

impl<'a> FormClient<'a> {
    async fn login(world: &'a World, username: &str) -> Self {
        let form = format!("username={username}&password={}", PASSWORD.replace(' ', "+"));
        let request = world.http.post(format!("{}/login", world.auth));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let Tokens { access, refresh, .. } = Tokens::of(&Answer::to(request.body(form)).await);
        Self { world, access, refresh, refreshes: 0 }
    }

    /// Calls; after a 401 refreshes and calls once more. An error is the answer to the refresh.
    async fn call(&mut self) -> Result<Answer, Answer> {
        let answer = self.world.whoami(&self.access).await;
        if answer.status != 401 {
            return Ok(answer);
        }
        let answer = self.world.refresh(&self.refresh).await;
        if answer.status != 200 {
            return Err(answer);
        }
        Tokens { access: self.access, refresh: self.refresh, .. } = Tokens::of(&answer);
        self.refreshes += 1;
        Ok(self.world.whoami(&self.access).await)
    }

    async fn logout(&self) -> Answer {
        self.world.logout(&self.refresh, "current").await
    }
}

/// A page: the access token in memory, the refresh token in a cookie that it never sees.
struct Page<'a> {
    world: &'a World,
    browser: Browser,
    access: Mutex<String>,
}

impl<'a> Page<'a> {
    async fn login(world: &'a World, username: &str) -> Self {
        let browser = world.browser();
        let answer = browser.login(username, PASSWORD).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.json().get("refresh_token").is_none(), "scripts never see it");
        let access = Mutex::new(answer.member("access_token"));
        Self { world, browser, access }
    }

    /// Another tab: it has the cookie, and no access token of its own yet.
    fn another_tab(&self) -> Self {
        let browser = self.browser.clone();
        Self { world: self.world, browser, access: Mutex::default() }
    }

    fn access(&self) -> String {
        self.access.lock().unwrap().clone()
    }

    async fn call(&self) -> Result<Answer, Answer> {
        let answer = self.world.whoami(&self.access()).await;
        if answer.status != 401 {
            return Ok(answer);
        }
        let refreshed = self.browser.refresh().await;
        if refreshed.status != 200 {
            return Err(refreshed);
        }
        *self.access.lock().unwrap() = refreshed.member("access_token");
        Ok(self.world.whoami(&self.access()).await)
    }

    async fn logout(&self) -> Answer {
        self.browser.post("/logout", &json!({})).await
    }
}

#[track_caller]
fn assert_is(answer: &Result<Answer, Answer>, username: &str) {
    let answer = answer.as_ref().unwrap_or_else(|refused| panic!("refused: {}", refused.text));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.member("username"), username);
}

on_both_databases! {
    async fn a_client_with_a_login_form_stays_in_until_it_logs_out(world) {
        world.register("ada").await;
        let mut client = FormClient::login(&world, "ada").await;
        assert_is(&client.call().await, "ada");
        assert_eq!(client.refreshes, 0);
        for day in 1..=3 {
            world.clock.advance(86_400);
            assert_is(&client.call().await, "ada");
            assert_is(&client.call().await, "ada");
            assert_eq!(client.refreshes, day, "one refresh, and the call goes through");
        }
        let answer = client.logout().await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        world.until_refused(&client.access).await;
        let refused = client.call().await.unwrap_err();
        refused.assert_problem(401, "session-revoked");
        assert_eq!(refused.json()["reason"], "logout");
        assert_is(&FormClient::login(&world, "ada").await.call().await, "ada");
    }

    async fn a_page_with_a_cookie_stays_in_until_it_logs_out(world) {
        world.register("ada").await;
        let page = Page::login(&world, "ada").await;
        let first = page.browser.cookie().expect("a cookie");
        assert_is(&page.call().await, "ada");
        world.clock.advance(3600);
        assert_is(&page.call().await, "ada");
        assert_ne!(page.browser.cookie().expect("a cookie"), first, "rotated");

        let tab = page.another_tab();
        assert_is(&tab.call().await, "ada");
        world.clock.advance(3600);
        let (one, other) = tokio::join!(page.call(), tab.call());
        assert_is(&one, "ada");
        assert_is(&other, "ada");
        world.clock.advance(3600);
        assert_is(&tab.call().await, "ada");
        assert_is(&page.call().await, "ada");

        let answer = page.logout().await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        assert_eq!(page.browser.cookie(), None, "cleared");
        for tab in [&page, &tab] {
            world.until_refused(&tab.access()).await;
            tab.call().await.unwrap_err().assert_problem(401, "unauthenticated");
        }
    }

    async fn whoever_kept_the_cookie_of_a_session_that_was_ended_is_told_so(world) {
        world.register("ada").await;
        let page = Page::login(&world, "ada").await;
        let kept = page.browser.cookie().expect("a cookie");
        assert_eq!(page.logout().await.status, 204);
        world.until_refused(&page.access()).await;
        page.browser.set_cookie(&kept);
        page.call().await.unwrap_err().assert_problem(401, "session-revoked");
        assert_is(&Page::login(&world, "ada").await.call().await, "ada");
    }

    async fn a_client_that_was_away_too_long_logs_in_again(world) {
        world.register("ada").await;
        let mut client = FormClient::login(&world, "ada").await;
        let page = Page::login(&world, "ada").await;
        world.clock.advance(604_801);
        client.call().await.unwrap_err().assert_problem(401, "session-expired");
        page.call().await.unwrap_err().assert_problem(401, "session-expired");
        assert_is(&FormClient::login(&world, "ada").await.call().await, "ada");
        assert_is(&Page::login(&world, "ada").await.call().await, "ada");
    }
}

/// How many requests of each route an auth-service has answered.
fn answered(metrics: &str) -> BTreeMap<String, u64> {
    let counts = metrics.lines().filter(|line| line.starts_with("latchkey_http_requests_total{"));
    let count = |line: &str| {
        let route = line.split("route=\"").nth(1).and_then(|rest| rest.split('"').next());
        let number = line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
        (route.expect("a route").to_owned(), number.expect("a number"))
    };
    let followed =
        ["/.well-known/jwks.json", "/internal/revocations", "/internal/keys", "/metrics"];
    let mut answered = BTreeMap::new();
    // A route has a count for each status: a service that was not ready at once has two.
    for (route, number) in counts.map(count) {
        if !followed.contains(&route.as_str()) {
            *answered.entry(route).or_default() += number;
        }
    }
    answered
}

on_each_empty_database! {
    /// What local verification is for.
    async fn a_service_that_verifies_asks_nobody(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let mut resource = Service::resource(&auth, &[]);
        resource.start().await;
        let tokens = auth.newcomer("ada").await;
        let before = answered(&auth.metrics().await);
        assert!(before.get("/login") == Some(&1), "{before:?}");
        for _ in 0..50 {
            assert_eq!(resource.whoami(&tokens.access).await.status, 200);
        }
        for _ in 0..50 {
            assert_eq!(resource.whoami("x.y.z").await.status, 401);
        }
        assert_eq!(answered(&auth.metrics().await), before, "the auth-service heard nothing of it");
        auth.kill();
        for _ in 0..10 {
            assert_eq!(resource.whoami(&tokens.access).await.status, 200, "and need not be there");
        }
    }
}
