//! The policy: what it takes to rotate and to end a session, and what is answered. How one begins is told in
//! `logins`.
//!
//! Joins tokens, passwords and the store. It knows nothing of HTTP.

use claims::{SessionId, Transport};
use hosting::causes;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::Error;
use crate::policy::TokenAnswer;
use crate::policy::admission;
use crate::policy::app::App;
use crate::policy::audience;
use crate::policy::callers::read_revoked;
use crate::store::{
    AuditEntry, AuditEvent, Caller, EndReason, Grant, Presented, Removal, Requester, Reuse,
    RotationOutcome,
};
use crate::store::{EventView, SessionPage, SessionPlace};
use crate::tokens::clients::ClientPolicy;
use crate::tokens::{RefreshKeys, RefreshToken};

/// What login and refresh give: the answer, and the refresh token apart from it, because how that
/// travels is not decided here.
pub(crate) struct Issued {
    /// The answer without a refresh token.
    pub(crate) answer: TokenAnswer,
    pub(crate) refresh_token: SecretString,
    /// How it is to travel.
    pub(crate) transport: Transport,
}

/// Which sessions a logout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    /// The caller's own.
    #[default]
    Current,
    /// All but the caller's own.
    Others,
    /// All.
    All,
}

/// Exchanges a refresh token for its successor and a fresh access token, which is for the services that
/// `resource` names, or for all that the session is for.
pub(crate) async fn refresh(
    app: &App,
    text: &SecretString,
    transport: Transport,
    requester: Requester,
    resource: Option<&[String]>,
) -> Result<Issued, Error> {
    // The successor is made with one of the keys that were good when the token was judged. Otherwise a
    // token whose key is revoked meanwhile would get a successor of the next key.
    let keys = app.keyring.now();
    let policy = app.clients.first_party();
    let client_id = &policy.client_id;
    let Some(token) = keys.refresh.read(text.expose_secret(), client_id, transport) else {
        // Made here, so it is no guess, and its owner's network must not suffer for it.
        if read_revoked(app, text.expose_secret(), transport).is_some() {
            return Err(Error::InvalidToken);
        }
        return Err(admission::forged(app, &requester, Error::InvalidToken));
    };
    let target = audience::target(&policy, audience::named(&policy, resource)?);
    let session = token.session_id();
    admission::refresh(app, session)?;
    let presented = Presented {
        session,
        client_id: client_id.clone(),
        generation: token.generation(),
        target: target.clone(),
        requester: requester.clone(),
        limits: policy.limits,
    };
    let rotation = app.store.rotate(presented).await?;
    metrics::counter!("latchkey_refreshes_total", "outcome" => outcome(&rotation)).increment(1);
    let answer = |grant: &Grant| {
        let audience = target.within(grant.audience.as_deref());
        let audience = audience.ok_or_else(|| audience::refused(&target))?;
        Ok(issue(app, &keys.refresh, &policy, grant, audience, &token, transport))
    };
    match rotation {
        RotationOutcome::Rotated(grant) => answer(&grant),
        RotationOutcome::Repeated { grant, rotated_by } => {
            if rotated_by != requester {
                tracing::info!(
                    event.name = AuditEvent::RefreshReplayed.as_str(), event.outcome = "success",
                    session.id = %session, user.id = %grant.user.id,
                    rotated_by = ?rotated_by, presented_by = ?requester,
                    "a refresh token came again within the window, from elsewhere"
                );
                let entry = AuditEntry {
                    // A second stranger in another network is not counted as the first one again.
                    origin: app.origin(&requester).map(|origin| origin.to_string()),
                    requester,
                    other: rotated_by,
                    ..AuditEntry::new(AuditEvent::RefreshReplayed)
                };
                record(app, &grant, entry).await;
            }
            answer(&grant)
        }
        RotationOutcome::FastForwarded(grant) => {
            tracing::warn!(
                event.name = AuditEvent::RotationRestored.as_str(), event.outcome = "success",
                session.id = %session, user.id = %grant.user.id,
                "the database had forgotten a rotation"
            );
            let entry = AuditEntry { requester, ..AuditEntry::new(AuditEvent::RotationRestored) };
            record(app, &grant, entry).await;
            answer(&grant)
        }
        RotationOutcome::Reused(Reuse { grant, rotated_by }) => {
            tracing::warn!(
                event.name = "session-ended", event.outcome = "failure",
                reason = EndReason::Reuse.as_str(), session.id = %session, user.id = %grant.user.id,
                rotated_by = ?rotated_by, presented_by = ?requester,
                "a spent refresh token was presented; the session is ended"
            );
            Err(Error::TokenReused)
        }
        RotationOutcome::Expired | RotationOutcome::Unknown => Err(Error::SessionExpired),
        RotationOutcome::Ended(reason) => Err(Error::SessionRevoked(reason)),
        RotationOutcome::TooFarAhead => Err(Error::InvalidToken),
        RotationOutcome::NotForTarget => Err(audience::refused(&target)),
    }
}

/// Adds to the audit log of a session. Not being able to does not undo what happened.
async fn record(app: &App, grant: &Grant, entry: AuditEntry) {
    let (user, session) = (Some(grant.user.id), Some(grant.session_id));
    if let Err(error) = app.store.record(AuditEntry { user, session, ..entry }).await {
        tracing::warn!(error = causes(&error), "the audit log has a gap");
    }
}

/// Ends sessions on behalf of `callers`, who are one person with several credentials. The own
/// session of each ends with any token it ever had, in one step with the others'. Other sessions and
/// all are ended for the first caller whose token is good.
///
/// # Errors
/// [`Error::InvalidToken`] where no caller's token is good enough; [`Error::Store`] where it is not
/// known whether anything was ended.
pub(crate) async fn log_out(app: &App, callers: &[Caller], ending: Ending) -> Result<(), Error> {
    if ending == Ending::Current {
        if !callers.is_empty() {
            let sessions = callers.iter().map(|caller| caller.session).collect();
            app.store.end_each(sessions, EndReason::Logout).await?;
        }
        for caller in callers {
            tell_of_logout("session-ended", caller.session, ending);
        }
        return Ok(());
    }
    for caller in callers {
        let (done, event) = match ending {
            Ending::All => (app.store.end_all_sessions(*caller).await?, "all-sessions-ended"),
            Ending::Others | Ending::Current => {
                (app.store.end_other_sessions(*caller).await?, "session-ended")
            }
        };
        if done {
            tell_of_logout(event, caller.session, ending);
            return Ok(());
        }
    }
    Err(Error::InvalidToken)
}

/// Under the name that the audit log has for it.
fn tell_of_logout(event: &'static str, session: SessionId, ending: Ending) {
    tracing::info!(
        event.name = event, event.outcome = "success", reason = EndReason::Logout.as_str(),
        session.id = %session, ending = ?ending, "logged out"
    );
}

/// Ends one session of the caller's user.
pub(crate) async fn remove(app: &App, caller: Caller, target: SessionId) -> Result<(), Error> {
    match app.store.remove_session(caller, target).await? {
        Removal::Ended => {
            tell_of_logout("session-ended", target, Ending::Current);
            Ok(())
        }
        Removal::NotFound => Err(Error::NotFound),
        Removal::CallerEnded => Err(Error::InvalidToken),
    }
}

/// The live sessions of the caller's user, a page of them.
pub(crate) async fn list(
    app: &App,
    caller: Caller,
    after: Option<SessionPlace>,
) -> Result<SessionPage, Error> {
    app.store.list_sessions(caller, after).await?.ok_or(Error::InvalidToken)
}

/// What happened to the account of the caller's user.
pub(crate) async fn events(app: &App, caller: Caller) -> Result<Vec<EventView>, Error> {
    app.store.events_of(caller).await?.ok_or(Error::InvalidToken)
}

/// The answer of a login or a refresh: an access token for the services of `audience`, and a refresh token that
/// one of `refresh_keys` makes.
pub(crate) fn issue(
    app: &App,
    refresh_keys: &RefreshKeys,
    client: &ClientPolicy,
    grant: &Grant,
    audience: Vec<String>,
    token: &RefreshToken,
    transport: Transport,
) -> Issued {
    let access = app.keyring.now().access.mint(grant, client, audience);
    let token = token.at(grant.generation);
    let answer = TokenAnswer {
        access_token: access.text,
        token_type: "Bearer",
        expires_in: access.expires_in,
        refresh_token: None,
        refresh_token_timeout: grant.now.seconds_until(grant.idle_expires_at),
        authorization_expires_in: grant.now.seconds_until(grant.expires_at),
        scope: access.scope,
        session_id: grant.session_id,
    };
    let refresh_token = refresh_keys.write(&token, &grant.client_id, transport);
    Issued { answer, refresh_token, transport }
}

const fn outcome(rotation: &RotationOutcome) -> &'static str {
    match rotation {
        RotationOutcome::Rotated(_) => "rotated",
        RotationOutcome::Repeated { .. } => "repeated",
        RotationOutcome::FastForwarded(_) => "fast_forwarded",
        RotationOutcome::Reused(_) => "reused",
        RotationOutcome::Unknown => "unknown",
        RotationOutcome::Expired => "expired",
        RotationOutcome::Ended(_) => "ended",
        RotationOutcome::TooFarAhead => "too_far_ahead",
        RotationOutcome::NotForTarget => "invalid_target",
    }
}
