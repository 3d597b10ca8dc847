//! Who acts, by the credential that they show.

use claims::{AccessTokenClaims, Transport};

use crate::app::App;
use crate::store::Caller;
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

fn of_token(app: &App, token: &RefreshToken) -> Caller {
    let (session, generation) = (token.session_id(), Some(token.generation()));
    Caller { session, user: None, generation, grace_ms: app.grace_ms() }
}

/// The caller by a verified access token. `None` where it has no session: a client acts for itself.
#[must_use]
pub(crate) fn by_access_token(claims: &AccessTokenClaims) -> Option<Caller> {
    let (session, user) = (claims.sid?, claims.sub.user_id());
    Some(Caller { session, user, generation: None, grace_ms: 0 })
}
