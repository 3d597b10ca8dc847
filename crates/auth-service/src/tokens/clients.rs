//! What the first-party client may have, kept in memory: no token costs a look at its client.
//!
//! The settings are written to the table of clients at the start, and what is used is what the table has.
//! So where several replicas run with different settings, as while a change goes through, all of them
//! follow the one that was started last.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use claims::{ClientId, Scope};

use crate::background::outage::Outage;
use crate::background::supervisor::Supervisor;
use crate::config::{Config, ScopeRules, SessionLimits, Tokens};
use crate::identity::admin_scopes::is_reserved;
use crate::store::{Client, ClientKind, Store, StoreError};

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a client may have, ready to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPolicy {
    pub client_id: ClientId,
    /// What may be granted to it.
    pub scopes: Scope,
    /// What is granted to it where it asks for nothing.
    pub default_scopes: Scope,
    /// What its tokens are for (`aud`) where nobody asks for less: the services that were named, and this
    /// one, whose own routes take the token too. None is there twice.
    pub audience: Vec<String>,
    /// How long its access tokens last, seconds.
    pub access_seconds: u64,
    /// How long its sessions live.
    pub limits: SessionLimits,
    /// What the settings of this process know of scopes: which there are, and what they are bound to.
    known: Scope,
    rules: ScopeRules,
}

impl ClientPolicy {
    /// Of this client. What is no property of a client comes from the settings.
    #[must_use]
    pub fn new(client: Client, config: &Config) -> Self {
        let mut audience = Vec::with_capacity(client.audiences.len() + 1);
        for service in client.audiences.into_iter().chain([config.issuer.clone()]) {
            if !audience.contains(&service) {
                audience.push(service);
            }
        }
        let mut rules = config.scopes.clone();
        for (scope, rule) in &mut rules {
            if is_reserved(scope) {
                rule.audience = Some(config.issuer.clone());
            }
        }
        let grace = config.tokens.session_limits().grace;
        Self {
            client_id: client.client_id,
            scopes: client.scopes,
            default_scopes: client.default_scopes,
            audience,
            access_seconds: client.access.as_secs(),
            limits: SessionLimits { idle: client.idle, absolute: client.absolute, grace },
            known: config.tokens.scopes.clone(),
            rules,
        }
    }

    /// The services that are named by `resource` (RFC 8707), in the order in which a token names them; `None`
    /// where that is nothing, or anything else than some of the client's own, each of them once.
    #[must_use]
    pub fn services_named(&self, resource: &[String]) -> Option<Vec<String>> {
        let named = |service: &&String| resource.contains(service);
        let services: Vec<_> = self.audience.iter().filter(named).cloned().collect();
        (!services.is_empty() && services.len() == resource.len()).then_some(services)
    }

    /// Whether somebody may have this scope by way of the client. A reserved one is for those to whom the
    /// settings bind it, and for nobody else, whatever the client may have. One that the settings of this process
    /// do not know is for nobody either: a replica with newer ones has written it into the table of clients,
    /// and what it is bound to is written there only.
    #[must_use]
    pub fn may_grant(&self, scope: &str) -> bool {
        if is_reserved(scope) {
            self.rules.contains_key(scope)
        } else {
            self.scopes.contains(scope) && self.known.contains(scope)
        }
    }

    /// What a token for the services of `audience` says of what was `granted` at the login to a user who now
    /// has these roles: what may still be granted, is bound to none of the roles that they lack, and
    /// belongs to no other service. `None` where that is nothing.
    #[must_use]
    pub fn scope_now(
        &self,
        granted: &Scope,
        roles: &[String],
        audience: &[String],
    ) -> Option<Scope> {
        let admits =
            |scope: &str| self.rules.get(scope).is_none_or(|rule| rule.admits(roles, audience));
        granted.filtered(|scope| self.may_grant(scope) && admits(scope))
    }
}

/// The clients that tokens are issued to.
pub struct Clients {
    first_party: RwLock<Arc<ClientPolicy>>,
}

impl Clients {
    /// Writes the client of the settings where it is not as they have it, and goes on following what
    /// the database has.
    pub(crate) async fn start(
        config: &Config,
        store: &Store,
        supervisor: &mut Supervisor,
    ) -> Result<Arc<Self>, StoreError> {
        let mut client = of_settings(&config.tokens);
        // A row that cannot be read is to be written anew. Where nothing answers, that fails as well.
        let found = store.client(client.client_id.clone()).await.ok().flatten();
        if found.as_ref() != Some(&client) {
            if store.put_client(client.clone()).await? {
                tracing::info!(client.id = %client.client_id, "wrote the client of the settings");
            }
            // Another replica may have been started with other settings meanwhile.
            let now = store.client(client.client_id.clone()).await?;
            client = now.unwrap_or(client);
        }
        let first_party = RwLock::new(Arc::new(ClientPolicy::new(client, config)));
        let clients = Arc::new(Self { first_party });
        let (kept, config, store) = (Arc::clone(&clients), Arc::new(config.clone()), store.clone());
        supervisor
            .keep("clients", move || Arc::clone(&kept).follow(Arc::clone(&config), store.clone()));
        Ok(clients)
    }

    /// What the client of the settings may have at the moment.
    #[must_use]
    pub fn first_party(&self) -> Arc<ClientPolicy> {
        Arc::clone(&self.first_party.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the database until the task is aborted.
    async fn follow(self: Arc<Self>, config: Arc<Config>, store: Store) {
        let mut outage = Outage::new(
            "clients",
            "the client cannot be read; what was known of it stays in use",
            "the client is read again",
        );
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match store.client(config.tokens.client_id.clone()).await {
                Ok(Some(client)) => {
                    outage.works();
                    self.replace(ClientPolicy::new(client, &config));
                }
                // Whoever deleted it has logged nobody out by that; the next start writes it again.
                Ok(None) => outage.works(),
                Err(error) => {
                    outage.failed(&error.in_full());
                }
            }
        }
    }

    fn replace(&self, policy: ClientPolicy) {
        if *self.first_party() == policy {
            return;
        }
        tracing::info!(client.id = %policy.client_id, "the client may have something else now");
        *self.first_party.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }
}

/// The client of the settings. It cannot keep a secret: it is the service's own pages and apps.
fn of_settings(tokens: &Tokens) -> Client {
    let limits = tokens.session_limits();
    Client {
        client_id: tokens.client_id.clone(),
        kind: ClientKind::Public,
        name: tokens.client_id.as_str().to_owned(),
        scopes: tokens.scopes.clone(),
        default_scopes: tokens.default_scopes.clone(),
        audiences: tokens.audience.clone(),
        // `/login` takes a name and a password, as the grant of that name does.
        grants: ["password", "refresh_token"].map(str::to_owned).to_vec(),
        access: Duration::from_secs(tokens.access_seconds),
        idle: limits.idle,
        absolute: limits.absolute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let basis = [("AUTH__DATABASE__URL", "sqlite:x.db"), ("AUTH__KEYS__MASTER_KEY", key)];
        let all = basis.iter().chain(settings);
        Config::load(None, all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))).unwrap()
    }

    #[test]
    fn a_token_is_for_the_services_of_its_client_and_for_the_issuer_itself() {
        let issuer = "http://127.0.0.1:8080";
        for (setting, expected) in [
            ("https://a.example", vec!["https://a.example", issuer]),
            (
                "https://a.example,https://b.example",
                vec!["https://a.example", "https://b.example", issuer],
            ),
            (issuer, vec![issuer]),
        ] {
            let config = config(&[("AUTH__TOKENS__AUDIENCE", setting)]);
            let policy = ClientPolicy::new(of_settings(&config.tokens), &config);
            assert_eq!(policy.audience, expected);
        }
    }

    #[test]
    fn services_are_named_whole_and_once() {
        let settings = [("AUTH__TOKENS__AUDIENCE", "https://a.example,https://b.example")];
        let config = config(&settings);
        let policy = ClientPolicy::new(of_settings(&config.tokens), &config);
        let named = |resource: &[&str]| {
            let resource: Vec<_> = resource.iter().map(|one| (*one).to_owned()).collect();
            policy.services_named(&resource)
        };
        let [a, b, issuer] = ["https://a.example", "https://b.example", "http://127.0.0.1:8080"];
        assert_eq!(named(&[b]), Some(vec![b.to_owned()]));
        assert_eq!(named(&[issuer, a]), Some(vec![a.to_owned(), issuer.to_owned()]));
        assert_eq!(named(&[issuer, b, a]).as_ref(), Some(&policy.audience));
        for bad in
            [&[][..], &[""], &[a, a], &[a, ""], &["https://a.example/"], &[a, "https://c.example"]]
        {
            assert_eq!(named(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_token_says_what_is_granted_to_these_roles_and_belongs_to_its_services() {
        let table = r#"{"reports:write":{"roles":["editor","chief"],"audience":"https://a.example"},
            "reports:read":{"audience":"https://a.example"},"latchkey:keys":{"roles":["admin"]}}"#;
        let settings = [("AUTH__TOKENS__AUDIENCE", "https://a.example"), ("AUTH__SCOPES", table)];
        let config = config(&settings);
        // As somebody may write it into the table of clients.
        let scopes = "profile reports:read reports:write latchkey:keys latchkey:audit:read";
        let client = Client { scopes: scopes.parse().unwrap(), ..of_settings(&config.tokens) };
        let policy = ClientPolicy::new(client, &config);
        assert!(policy.may_grant("latchkey:keys") && !policy.may_grant("latchkey:audit:read"));
        assert!(policy.may_grant("profile") && !policy.may_grant("email"));
        let granted: Scope = format!("{scopes} email").parse().unwrap();
        let [a, issuer] = ["https://a.example", "http://127.0.0.1:8080"];
        for (roles, audience, expected) in [
            (&[][..], &[a, issuer][..], "profile reports:read"),
            (&["editor"][..], &[a, issuer][..], "profile reports:read reports:write"),
            (&["chief", "x"][..], &[a][..], "profile reports:read reports:write"),
            (&["editor", "admin"][..], &[issuer][..], "profile latchkey:keys"),
            (&["admin"][..], &[a][..], "profile reports:read"),
            (&["Editor"][..], &[a][..], "profile reports:read"),
        ] {
            let owned =
                |texts: &[&str]| texts.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
            let scope = policy.scope_now(&granted, &owned(roles), &owned(audience)).unwrap();
            assert_eq!(scope.as_str(), expected, "{roles:?} {audience:?}");
        }
        // A replica with newer settings, in which it is bound to a role, has added one.
        let client =
            Client { scopes: "profile salaries".parse().unwrap(), ..of_settings(&config.tokens) };
        let newer = ClientPolicy::new(client, &config);
        assert!(newer.may_grant("profile") && !newer.may_grant("salaries"));
        let write: Scope = "reports:write".parse().unwrap();
        assert_eq!(policy.scope_now(&write, &[], &[a.to_owned()]), None);
    }

    #[test]
    fn limits_and_scopes_are_those_of_the_client_and_the_window_is_the_settings_own() {
        let config = config(&[("AUTH__TOKENS__GRACE_SECONDS", "7")]);
        let client = Client {
            scopes: "a b".parse().unwrap(),
            access: Duration::from_mins(1),
            idle: Duration::from_mins(2),
            absolute: Duration::from_mins(3),
            ..of_settings(&config.tokens)
        };
        let policy = ClientPolicy::new(client, &config);
        assert_eq!((policy.scopes.as_str(), policy.access_seconds), ("a b", 60));
        let [idle, absolute] = [2, 3].map(Duration::from_mins);
        assert_eq!(policy.limits, SessionLimits { idle, absolute, grace: Duration::from_secs(7) });
    }
}
