//! What is done at one auth-service and must hold at the other, whatever the version of each.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::RefreshTokenShape;
use futures_util::future::join_all;
use serde_json::{Value, json};
use testbed::{PASSWORD, Tokens};

use super::Version;
use super::addresses::Asked;
use super::site::Site;
use super::stage::{Stage, Wrong};

const NEW_PASSWORD: &str = "another ordinary sentence";
/// For a replica to notice that a key took over.
const KEYS_ARE_READ: Duration = Duration::from_secs(30);

/// Does all of it, with each of the two auth-services as the first. `round` makes the names new.
pub(super) async fn both_ways(site: &Site<'_>, round: &str) {
    let stage = &*site.stage;
    let [one, other] = [0, 1].map(|number| stage.auths.at(number).expect("both serve"));
    let pairs =
        [Pair { stage, one: &one, other: &other }, Pair { stage, one: &other, other: &one }];
    let rounds = [0, 1].map(|way| format!("{round}-{way}"));
    let ways = pairs.iter().zip(&rounds);
    join_all(ways.map(|(pair, round)| Box::pin(pair.all(site, round)))).await;
}

/// Two auth-services of which each must take what the other gave.
struct Pair<'a> {
    stage: &'a Stage,
    one: &'a Asked<'a>,
    other: &'a Asked<'a>,
}

impl Pair<'_> {
    /// All at once, since each waits most of the time. What goes wrong is written down where it does.
    async fn all(&self, site: &Site<'_>, round: &str) {
        let name = |who: &str| format!("{who}-{round}");
        let names = ["ada", "eve", "bob", "sam", "kim", "lee"].map(name);
        let [ada, eve, bob, sam, kim, lee] = names.each_ref();
        tokio::join!(
            self.refreshes_go_on(ada),
            self.a_spent_token_ends_the_session(eve),
            self.everything_ends(bob),
            self.a_password_is_changed(sam),
            self.an_account_is_disabled(site, kim),
            self.an_address_is_enough(lee),
        );
    }

    async fn newcomer(&self, name: &str) -> Option<Tokens> {
        let who = json!({"username": name, "password": PASSWORD});
        self.stage.register(self.one, &who).await?;
        self.stage.log_in(self.other, name, PASSWORD).await
    }

    fn same(&self, what: &str, one: &str, other: &str) {
        if one != other {
            let (at, second) = (self.one.version(), self.other.version());
            let said = format!("{what}, {at} and {second}: {one}, and not {other}");
            self.stage.wrong(Wrong::Different, &said);
        }
    }

    /// From one to the other and back: each rotates once, and the same again where it comes again.
    async fn refreshes_go_on(&self, name: &str) -> Option<()> {
        let stage = self.stage;
        let mut tokens = self.newcomer(name).await?;
        let (mut at, mut retried_at) = (self.one, self.other);
        for generation in 2..5 {
            let next = stage.refresh(at, &tokens).await?;
            self.same("a generation", &generation_of(&next), &generation.to_string());
            let again = stage.refresh(retried_at, &tokens).await?;
            self.same("a retry within the window", &next.refresh, &again.refresh);
            stage.is_accepted(&next.access).await;
            stage.is_accepted(&again.access).await;
            stage.pass_window(&next.session).await;
            tokens = next;
            (at, retried_at) = (retried_at, at);
        }
        for at in [self.one, self.other] {
            let request = stage.get(at, "/sessions", &tokens.access);
            let list = stage.ask("looks at the account", at, request, 200).await?;
            self.same(
                "the session is listed",
                &list.text.contains(&tokens.session).to_string(),
                "true",
            );
            let request = stage.get(at, "/me", &tokens.access);
            let me = stage.ask("looks at the account", at, request, 200).await?;
            self.same("a name", &me.member("username"), name);
            let request = stage.get(at, "/sessions/events", &tokens.access);
            stage.ask("looks at the account", at, request, 200).await?;
        }
        stage.log_out(at, &tokens, "current").await?;
        stage.has_ended(&tokens).await;
        stage.refresh_is_refused(retried_at, &tokens.refresh, "session-revoked").await;
        Some(())
    }

    async fn a_spent_token_ends_the_session(&self, name: &str) -> Option<()> {
        let stage = self.stage;
        let first = self.newcomer(name).await?;
        let second = stage.refresh(self.one, &first).await?;
        stage.pass_window(&first.session).await;
        let third = stage.refresh(self.other, &second).await?;
        stage.refresh_is_refused(self.one, &first.refresh, "token-reused").await;
        stage.has_ended(&third).await;
        stage.refresh_is_refused(self.other, &third.refresh, "session-revoked").await;
        Some(())
    }

    /// The others, then all.
    async fn everything_ends(&self, name: &str) -> Option<()> {
        let stage = self.stage;
        let first = self.newcomer(name).await?;
        let second = stage.log_in(self.one, name, PASSWORD).await?;
        let third = stage.log_in(self.other, name, PASSWORD).await?;
        stage.log_out(self.one, &first, "others").await?;
        for ended in [&second, &third] {
            stage.has_ended(ended).await;
            stage.refresh_is_refused(self.other, &ended.refresh, "session-revoked").await;
        }
        let first = stage.refresh(self.other, &first).await?;
        stage.is_accepted(&first.access).await;
        let fourth = stage.log_in(self.one, name, PASSWORD).await?;
        stage.log_out(self.other, &first, "all").await?;
        for ended in [&first, &fourth] {
            stage.has_ended(ended).await;
            stage.refresh_is_refused(self.one, &ended.refresh, "session-revoked").await;
        }
        Some(())
    }

    async fn a_password_is_changed(&self, name: &str) -> Option<()> {
        let stage = self.stage;
        let own = self.newcomer(name).await?;
        let stranger = stage.log_in(self.one, name, PASSWORD).await?;
        let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD, "sessions": "others"});
        let request = stage.post(self.one, "/password", &body).bearer_auth(&own.access);
        stage.ask("changes of password", self.one, request, 204).await?;
        stage.has_ended(&stranger).await;
        stage.refresh_is_refused(self.other, &stranger.refresh, "session-revoked").await;
        self.is_kept_out(self.other, name, PASSWORD).await;
        stage.log_in(self.other, name, NEW_PASSWORD).await?;
        let own = stage.refresh(self.other, &own).await?;
        stage.is_accepted(&own.access).await;
        Some(())
    }

    /// By a command of one version, and undone by one of the other.
    async fn an_account_is_disabled(&self, site: &Site<'_>, name: &str) -> Option<()> {
        let stage = self.stage;
        let tokens = self.newcomer(name).await?;
        let who = format!("name:{name}");
        site.command(self.one.version(), &["user", "disable", &who]).await?;
        stage.has_ended(&tokens).await;
        stage.refresh_is_refused(self.other, &tokens.refresh, "session-revoked").await;
        self.is_kept_out(self.other, name, PASSWORD).await;
        site.command(self.other.version(), &["user", "enable", &who]).await?;
        let tokens = stage.log_in(self.one, name, PASSWORD).await?;
        stage.is_accepted(&tokens.access).await;
        Some(())
    }

    /// Programs of before know nobody without a name. They serve them all the same.
    async fn an_address_is_enough(&self, name: &str) -> Option<()> {
        let stage = self.stage;
        if self.one.version() == Version::Before {
            return None;
        }
        let address = format!("{name}@example.com");
        let who = json!({"email": address, "password": PASSWORD});
        stage.register(self.one, &who).await?;
        let tokens = stage.log_in(self.other, &address, PASSWORD).await?;
        stage.is_accepted(&tokens.access).await;
        let tokens = stage.refresh(self.one, &tokens).await?;
        stage.is_accepted(&tokens.access).await;
        let request = stage.get(self.other, "/me", &tokens.access);
        stage.ask("looks at the account", self.other, request, 200).await.map(drop)
    }

    async fn is_kept_out(&self, at: &Asked<'_>, name: &str, password: &str) {
        let body = json!({"username": name, "password": password});
        let request = self.stage.post(at, "/login", &body);
        self.stage.ask("logins that must fail", at, request, 401).await;
    }
}

/// After keys were made by a command of one version: once they are in use, both auth-services sign with the same
/// one, and each takes refresh tokens that the other made.
pub(super) async fn keys_are_shared(site: &Site<'_>, made_by: Version, name: &str) -> Option<()> {
    let stage = &*site.stage;
    site.keys_are_in_use().await;
    let list = site.command(made_by.other(), &["keys", "list"]).await?;
    let signs = |line: &&str| line.contains("\tsign\t") && line.contains("\tactive\t");
    let active = list.lines().find(signs).and_then(|line| line.split('\t').next());
    let active = active.unwrap_or("no key at all");
    let serving = [0, 1].map(|number| stage.auths.at(number).expect("both serve"));
    let pair = Pair { stage, one: &serving[0], other: &serving[1] };
    let first = pair.newcomer(name).await?;
    for (at, next_at) in [(&serving[0], &serving[1]), (&serving[1], &serving[0])] {
        let begun = Instant::now();
        let mut made = stage.log_in(at, name, PASSWORD).await?;
        // Each looks for what is due at its own time.
        while key_of(&made.access) != active && begun.elapsed() < KEYS_ARE_READ {
            tokio::time::sleep(Duration::from_millis(100)).await;
            made = stage.refresh(at, &made).await?;
        }
        pair.same("the signing key", &key_of(&made.access), active);
        stage.pass_window(&made.session).await;
        let next = stage.refresh(next_at, &made).await?;
        stage.is_accepted(&made.access).await;
        stage.is_accepted(&next.access).await;
    }
    stage.is_accepted(&first.access).await;
    Some(())
}

fn generation_of(tokens: &Tokens) -> String {
    let shape = RefreshTokenShape::parse(&tokens.refresh).expect("a refresh token");
    shape.generation.to_string()
}

fn key_of(access: &str) -> String {
    let header = access.split('.').next().expect("a JWT");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a key id").to_owned()
}
