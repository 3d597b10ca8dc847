//! Who is an administrator over HTTP, and how far they reach.
//!
//! An access token is good for this when it is for this service alone, allows what is asked for, and comes of a
//! login of the last quarter of an hour. Its session must be live, and its user's roles must still grant the
//! scope: a role that is taken away is gone with the next request.
//!
//! **Nobody climbs.** Who may change accounts could give themselves a role that grants more, or take the account of
//! somebody who has one by setting its password or address. So an account that has a role by which it may do
//! something here can be changed only by whoever may do all of that too, and such a role is given and taken by
//! nobody else. What counts is what the administrator's token and roles allow together. The command line with the
//! database is bound by none of this; with it the first administrator is made.

use claims::{Audience, SessionId, UserId};
use verifier::{Bearer, Denial, Protection, Rejection};

use crate::config::Config;
use crate::error::Error;
use crate::identity::admin_scopes;
use crate::policy::app::App;
use crate::policy::authentication::require_recent_login;
use crate::policy::{admission, callers};
use crate::store::{Acting, Once, Store};

/// Somebody who may do what they ask for. Only [`admit`] makes one.
#[derive(Debug, Clone)]
pub(crate) struct Administrator {
    user: UserId,
    session: SessionId,
    roles: Vec<String>,
    /// What their token and their roles allow together.
    scopes: Vec<&'static str>,
}

/// Lets in whoever may do what `scope` names.
pub(crate) async fn admit(
    app: &App,
    protection: &Protection,
    bearer: &Bearer,
    scope: &'static str,
) -> Result<Administrator, Error> {
    let admitted = check(app, protection, bearer, scope).await;
    let outcome = if admitted.is_ok() { "admitted" } else { "refused" };
    metrics::counter!("latchkey_admin_requests_total", "outcome" => outcome).increment(1);
    admitted
}

async fn check(
    app: &App,
    protection: &Protection,
    bearer: &Bearer,
    scope: &'static str,
) -> Result<Administrator, Error> {
    let claims = bearer.verified().claims();
    // Any other service that the token is for could use it here.
    if claims.aud != Audience::One(app.config.issuer.clone()) {
        return Err(protection.challenge(Rejection::Audience).into());
    }
    bearer.require_scope(scope)?;
    require_recent_login(bearer)?;
    let caller = callers::by_access_token(claims).ok_or(Error::Forbidden)?;
    admission::administrator(app, caller.session)?;
    let found = app.store.user_of(caller).await?.ok_or(Error::InvalidToken)?;
    let allowed = |one: &&'static str| {
        bearer.verified().has_scope(one) && grants(&app.config, &found.roles, one)
    };
    let scopes: Vec<_> = admin_scopes::ALL.into_iter().filter(allowed).collect();
    if !scopes.contains(&scope) {
        return Err(protection.challenge(Denial::InsufficientScope(scope)).into());
    }
    Ok(Administrator { user: found.id, session: caller.session, roles: found.roles, scopes })
}

impl Administrator {
    /// With which session.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// Whether they may do that too.
    pub(crate) fn may(&self, scope: &str) -> bool {
        self.scopes.contains(&scope)
    }

    /// The store, for a change that is about nobody's account.
    pub(crate) fn store(&self, app: &App) -> Store {
        self.acting(app, None)
    }

    /// The store, for a change of this account: nothing is changed where it has a role that is out of reach.
    pub(crate) fn store_about(&self, app: &App, user: UserId) -> Store {
        self.acting(app, Some(user))
    }

    fn acting(&self, app: &App, about: Option<UserId>) -> Store {
        app.store.on_behalf_of(Acting {
            administrator: self.user,
            session: self.session,
            roles: self.roles.clone(),
            about,
            out_of_reach: self.out_of_reach(&app.config),
        })
    }

    /// Refuses roles by which somebody could do here what this administrator may not.
    ///
    /// # Errors
    /// [`Error::OutOfReach`].
    pub(crate) fn may_give(&self, config: &Config, roles: &[String]) -> Result<(), Error> {
        let out_of_reach = self.out_of_reach(config);
        if roles.iter().any(|role| out_of_reach.contains(role)) {
            return Err(Error::OutOfReach);
        }
        Ok(())
    }

    /// What is to be done once, where a key says so: what stands for the key and for the parts of the request.
    pub(crate) fn once(&self, app: &App, key: Option<&str>, request: &[&[u8]]) -> Option<Once> {
        let key = app.pseudonyms.of("idempotency-key", &[key?.as_bytes()]);
        let request = app.pseudonyms.of("idempotent-request", request);
        Some(Once { administrator: self.user, key, request })
    }

    /// The roles that grant what this administrator may not do.
    fn out_of_reach(&self, config: &Config) -> Vec<String> {
        let others = admin_scopes::ALL.into_iter().filter(|scope| !self.scopes.contains(scope));
        let mut roles: Vec<_> = others.flat_map(|scope| roles_with(config, scope)).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

/// Whether one of these roles grants the scope.
fn grants(config: &Config, roles: &[String], scope: &str) -> bool {
    roles_with(config, scope).iter().any(|role| roles.contains(role))
}

/// The roles that grant a scope of administrators: none, unless the settings bind it to some.
fn roles_with(config: &Config, scope: &str) -> Vec<String> {
    let rule = config.scopes.get(scope);
    rule.and_then(|rule| rule.roles.clone()).unwrap_or_default()
}
