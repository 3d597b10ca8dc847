//! The policy of logins: who is admitted, and what a good login opens.

use std::time::Duration;

use claims::{Scope, Transport};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::field;

use crate::error::Error;
use crate::identity::visible::is_visible;
use crate::limits::Outcome;
use crate::policy::accounts::check_password_text;
use crate::policy::admission::{self, Applicant};
use crate::policy::app::App;
use crate::policy::audience;
use crate::policy::authentication::{Authenticated, password};
use crate::policy::callers;
use crate::policy::sessions::{Issued, issue};
use crate::store::{Grant, NewSession, Requester, StoreError};
use crate::tokens::RefreshToken;
use crate::tokens::clients::ClientPolicy;

const OPENING_ATTEMPTS: usize = 5;

/// A login.
pub(crate) struct LogIn {
    /// A name or an address.
    pub(crate) username: String,
    pub(crate) password: SecretString,
    /// How the client keeps its refresh token.
    pub(crate) transport: Transport,
    /// What it asks for.
    pub(crate) scope: Option<String>,
    /// The services that it asks for.
    pub(crate) resource: Option<Vec<String>>,
    /// What it calls the device.
    pub(crate) device: Option<String>,
    pub(crate) requester: Requester,
    /// The refresh token of the session that this one takes the place of.
    pub(crate) replaces: Option<SecretString>,
    /// An access token that came along: it may show that this is the account's owner.
    pub(crate) bearer: Option<SecretString>,
}

/// Opens a session for whoever knows the password, unless it was tried too often.
pub(crate) async fn log_in(app: &App, login: LogIn) -> Result<Issued, Error> {
    let client = app.clients.first_party();
    // Before anything is charged: it is no attempt on anybody's account.
    let named = audience::named(&client, login.resource.as_deref())?;
    let applicant = Applicant {
        username: &login.username,
        requester: &login.requester,
        cookie: login.replaces.as_ref(),
        bearer: login.bearer.as_ref(),
    };
    let home = applicant.home(app);
    let attempt = admission::login(app, applicant).await?;
    let issued = open_for(app, &client, login, named, attempt.waited()).await;
    let outcome = match &issued {
        Ok(_) => Outcome::Succeeded,
        Err(Error::InvalidCredentials) => Outcome::Failed,
        Err(_) => Outcome::Void,
    };
    attempt.settle(outcome).await;
    if issued.is_ok() {
        app.owners.got_in(home);
    }
    issued
}

async fn open_for(
    app: &App,
    client: &ClientPolicy,
    login: LogIn,
    audience: Option<Vec<String>>,
    waited: Duration,
) -> Result<Issued, Error> {
    check_password_text(&login.password)?;
    let (subject, origin) = (app.pseudonyms.given(&login.username), app.origin(&login.requester));
    let opening = Opening {
        scope: scope_asked_for(client, login.scope.as_deref())?,
        audience: audience.clone(),
        device: device(login.device)?,
        requester: login.requester,
        replaces: login.replaces,
    };
    let (username, password, from) = (&login.username, login.password, &opening.requester);
    let (found, outdated) = password::authenticate(app, username, password, from, waited).await?;
    let (grant, token) = open_session(app, client, found.complete()?, opening).await?;
    tracing::info!(
        event.name = "login", event.outcome = "success", %subject, origin = origin.map(field::display),
        user.id = %grant.user.id, session.id = %grant.session_id, "logged in"
    );
    if let Some(outdated) = outdated {
        outdated.renew(app);
    }
    let audience = audience.unwrap_or_else(|| client.audience.clone());
    let keys = app.keyring.now();
    Ok(issue(app, &keys.refresh, client, &grant, audience, &token, login.transport))
}

/// What a session is opened with, besides whose it is.
struct Opening {
    scope: Scope,
    audience: Option<Vec<String>>,
    device: Option<String>,
    requester: Requester,
    replaces: Option<SecretString>,
}

/// Opens a session for whoever was authenticated. Nothing else in this service opens one.
///
/// # Errors
/// [`Error::InvalidCredentials`] where the password or the account changed since they were checked.
async fn open_session(
    app: &App,
    client: &ClientPolicy,
    mut who: Authenticated,
    opening: Opening,
) -> Result<(Grant, RefreshToken), Error> {
    let replaces = opening.replaces.and_then(|text| {
        callers::by_refresh_token_to_end(app, text.expose_secret(), Transport::Cookie)
    });
    let token = RefreshToken::first();
    let mut session = NewSession {
        id: token.session_id(),
        user: who.user(),
        versions: who.versions(),
        client_id: client.client_id.clone(),
        scope: opening.scope,
        audience: opening.audience,
        limits: client.limits,
        amr: who.amr().clone(),
        auth_time: who.auth_time(),
        device: opening.device,
        requester: opening.requester,
        replaces: replaces.map(|caller| caller.session),
        max_sessions: app.config.tokens.max_sessions,
    };
    for _ in 0..OPENING_ATTEMPTS {
        if let Some(grant) = app.store.open_session(session.clone()).await? {
            return Ok((grant, token));
        }
        who = password::again(app, who).await?.ok_or(Error::InvalidCredentials)?;
        session.versions = who.versions();
    }
    Err(StoreError::Contended.into())
}

/// The scope granted: what was asked for, where all of it may be granted, or the default. Whether this user
/// may have it is judged whenever a token is made: what they may not is left out of that, and told by its
/// `scope` (RFC 6749 §3.3, §5.1). So a role that they get later brings its scopes with the next refresh.
fn scope_asked_for(client: &ClientPolicy, asked: Option<&str>) -> Result<Scope, Error> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(client.default_scopes.clone());
    };
    let invalid = |detail: &str| Error::InvalidRequest(detail.to_owned());
    let scope: Scope = asked
        .parse()
        .map_err(|_| invalid("The scope must be values with single spaces between, none twice."))?;
    if scope.values().all(|value| client.may_grant(value)) {
        Ok(scope)
    } else {
        Err(invalid("The scope names a value that this service does not grant."))
    }
}

fn device(device: Option<String>) -> Result<Option<String>, Error> {
    match device {
        Some(device) if !is_visible(&device, 64) => Err(Error::InvalidRequest(
            "A device name has 1 to 64 characters, and none that cannot be seen.".to_owned(),
        )),
        device => Ok(device),
    }
}
