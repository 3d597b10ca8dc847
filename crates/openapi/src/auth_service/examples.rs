//! Values that appear in several examples.

use std::str::FromStr;

use auth_service::policy::TokenAnswer;
use auth_service::store::{EventView, SessionView, UserView};
use claims::{SessionId, Timestamp, UserId};

pub(super) const PASSWORD: &str = "a quite ordinary sentence";
const ACCESS: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IjE3In0.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZSJ9.c2lnbmF0dXJl";
pub(super) const REFRESH: &str =
    "rt1.NzY2MDk0YzE2ZDU3NDQ5Zg.1.vbAoGmnsCO0cPBX9rErMgmRAkEoYCRCCJ0mlhCsJTq8";
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// 21 November 2026, in the evening.
const NOW: i64 = 1_795_287_000_000;

/// What is known to be well-formed.
fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is an example"))
}

pub(super) fn session_id() -> SessionId {
    parsed("xpiap7Dtk4nF3UttaF01FA")
}

pub(super) fn tokens() -> TokenAnswer {
    TokenAnswer {
        access_token: ACCESS.to_owned(),
        token_type: "Bearer",
        expires_in: 580,
        refresh_token: Some(REFRESH.to_owned()),
        refresh_token_timeout: 604_800,
        authorization_expires_in: 2_592_000,
        scope: Some(parsed("profile reports:read reports:write")),
        session_id: session_id(),
    }
}

pub(super) fn user() -> UserView {
    UserView {
        id: UserId(parsed("01a20013-fec0-70fb-8f69-81a9924a8b57")),
        username: Some("ada".to_owned()),
        email: Some("ada@example.org".to_owned()),
        created_at: Timestamp(NOW),
    }
}

pub(super) fn session() -> SessionView {
    SessionView {
        id: session_id(),
        created_at: Timestamp(NOW),
        last_used_at: Timestamp(NOW + 3_600_000),
        expires_at: Timestamp(NOW + 2_592_000_000),
        ip: Some("203.0.113.7".to_owned()),
        user_agent: Some(AGENT.to_owned()),
        device: Some("the blue laptop".to_owned()),
        current: true,
    }
}

pub(super) fn event() -> EventView {
    EventView {
        at: Timestamp(NOW + 3_600_000),
        kind: "session-ended".to_owned(),
        session_id: Some(session_id()),
        reason: Some("logout".to_owned()),
        ip: Some("203.0.113.7".to_owned()),
        user_agent: Some(AGENT.to_owned()),
        other_ip: None,
        other_user_agent: None,
    }
}
