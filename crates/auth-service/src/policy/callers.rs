//! Who acts, by the credential that they show.

use std::time::Duration;

use claims::{AccessTokenClaims, RefreshTokenShape, Transport};

use crate::error::Error;
use crate::policy::app::App;
use crate::store::{Caller, StoreError};
use crate::tokens::RefreshToken;

/// Reads a refresh token. `None` when it is none of ours.
pub(crate) fn read(app: &App, text: &str, transport: Transport) -> Option<RefreshToken> {
    app.keyring.now().refresh.read(text, &app.config.tokens.client_id, transport)
}

/// Reads a refresh token of ours whose key was revoked: good for ending its session, and for nothing
/// else.
pub(crate) fn read_revoked(app: &App, text: &str, transport: Transport) -> Option<RefreshToken> {
    app.keyring.now().refresh.read_revoked(text, &app.config.tokens.client_id, transport)
}

/// Reads a refresh token with which nothing but its own session is to be ended: any that the session
/// ever had, also one whose key was revoked.
#[must_use]
pub(crate) fn by_refresh_token_to_end(
    app: &App,
    text: &str,
    transport: Transport,
) -> Option<Caller> {
    let token = read(app, text, transport).or_else(|| read_revoked(app, text, transport))?;
    Some(of_token(app, &token))
}

/// Reads a refresh token to act with. `None` when it is none of ours.
#[must_use]
pub(crate) fn by_refresh_token(app: &App, text: &str, transport: Transport) -> Option<Caller> {
    read(app, text, transport).map(|token| of_token(app, &token))
}

/// Makes sure that all of `tokens` can be judged: one that has the form of a refresh token and was made
/// with none of the keys at hand may be of a key that this replica has not heard of yet. Then the keys
/// are read once more, which all who ask at the same time share.
///
/// # Errors
/// [`Error::Store`] where the keys cannot be read.
pub(crate) async fn can_be_judged<'a>(
    app: &App,
    mut tokens: impl Iterator<Item = (&'a str, Transport)>,
) -> Result<(), Error> {
    let unknown = tokens.any(|(text, by)| {
        RefreshTokenShape::parse(text).is_some()
            && read(app, text, by).or_else(|| read_revoked(app, text, by)).is_none()
    });
    if unknown && !app.keyring.as_of(app.verifier.clock().elapsed()).await {
        return Err(StoreError::Timeout.into());
    }
    Ok(())
}

fn of_token(app: &App, token: &RefreshToken) -> Caller {
    let (session, generation) = (token.session_id(), Some(token.generation()));
    Caller { session, user: None, generation, grace: app.config.tokens.session_limits().grace }
}

/// The caller by a verified access token. `None` where it has no session: a client acts for itself.
#[must_use]
pub(crate) fn by_access_token(claims: &AccessTokenClaims) -> Option<Caller> {
    let (session, user) = (claims.sid?, claims.sub.user_id());
    Some(Caller { session, user, generation: None, grace: Duration::ZERO })
}
