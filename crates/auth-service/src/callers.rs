//! Who acts, by the credential that they show.

use claims::{SessionId, Transport};

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
    Some(Caller { session: token.session_id(), generation, grace_ms: app.grace_ms() })
}

/// The caller by the session of a verified access token.
#[must_use]
pub fn by_session(session: SessionId) -> Caller {
    Caller { session, generation: None, grace_ms: 0 }
}
