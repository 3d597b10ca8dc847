//! Who acts, by the credential that they show.

use claims::{AccessTokenClaims, Transport};

use crate::app::App;
use crate::store::Caller;
use crate::tokens::RefreshToken;

/// Reads a refresh token. `None` when it is none of ours.
pub(crate) fn read(app: &App, text: &str, transport: Transport) -> Option<RefreshToken> {
    app.keyring.now().refresh.read(text, &app.config.tokens.client_id, transport)
}

/// Reads a refresh token to log out with. `None` when it is none of ours.
#[must_use]
pub fn by_refresh_token(app: &App, text: &str, transport: Transport) -> Option<Caller> {
    let token = read(app, text, transport)?;
    let generation = Some(token.generation());
    let session = token.session_id();
    Some(Caller { session, user: None, generation, grace_ms: app.grace_ms() })
}

/// The caller by a verified access token. `None` where it has no session: a client acts for itself.
#[must_use]
pub fn by_access_token(claims: &AccessTokenClaims) -> Option<Caller> {
    let (session, user) = (claims.sid?, claims.sub.user_id());
    Some(Caller { session, user, generation: None, grace_ms: 0 })
}
