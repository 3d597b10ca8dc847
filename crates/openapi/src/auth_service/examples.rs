//! Values that appear in several examples.

use std::str::FromStr;

use auth_service::policy::TokenAnswer;
use auth_service::schemas::Export;
use auth_service::store::{
    EventView, ExportedEvent, ExportedSession, ExportedUser, SessionView, UserView,
};
use claims::{SessionId, Timestamp, UserId};

pub(crate) const PASSWORD: &str = "a quite ordinary sentence";
const ACCESS: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IjE3In0.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZSJ9.c2lnbmF0dXJl";
pub(crate) const REFRESH: &str =
    "rt1.NzY2MDk0YzE2ZDU3NDQ5Zg.1.vbAoGmnsCO0cPBX9rErMgmRAkEoYCRCCJ0mlhCsJTq8";
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// 21 November 2026, in the evening.
pub(crate) const NOW: i64 = 1_795_287_000_000;

/// What is known to be well-formed.
pub(crate) fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is an example"))
}

pub(crate) fn session_id() -> SessionId {
    parsed("xpiap7Dtk4nF3UttaF01FA")
}

pub(crate) fn tokens() -> TokenAnswer {
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

pub(crate) fn user() -> UserView {
    UserView {
        id: UserId(parsed("01a20013-fec0-70fb-8f69-81a9924a8b57")),
        username: Some("ada".to_owned()),
        email: Some("ada@example.org".to_owned()),
        created_at: Timestamp(NOW),
    }
}

pub(crate) fn session() -> SessionView {
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

pub(crate) fn event() -> EventView {
    EventView {
        at: Timestamp(NOW + 3_600_000),
        kind: "session-ended".to_owned(),
        session_id: Some(session_id()),
        reason: Some("logout".to_owned()),
        ip: Some("203.0.113.7".to_owned()),
        user_agent: Some(AGENT.to_owned()),
        other_ip: None,
        other_user_agent: None,
        times: 1,
        last_at: None,
        by_administrator: false,
    }
}

pub(crate) fn export() -> Export {
    let (user, session, event) = (user(), session(), event());
    Export {
        user: ExportedUser {
            id: user.id,
            username: user.username,
            email: user.email,
            password_version: 1,
            version: 1,
            version_reason: None,
            enabled: true,
            roles: vec!["editor".to_owned()],
            created_at: user.created_at,
            changed_at: None,
        },
        invitations: Vec::new(),
        sessions: vec![ExportedSession {
            id: session.id.to_string(),
            user_id: user.id,
            client_id: "latchkey".to_owned(),
            scope: "profile reports:read reports:write".to_owned(),
            audience: None,
            subject_version: 1,
            generation: 2,
            rotated_at: Some(session.last_used_at),
            rotated_ip: session.ip.clone(),
            rotated_user_agent: session.user_agent.clone(),
            idle_expires_at: Timestamp(NOW + 3_600_000 + 604_800_000),
            expires_at: session.expires_at,
            revoked_at: None,
            revoke_reason: None,
            auth_time: session.created_at,
            amr: "pwd".to_owned(),
            device: session.device,
            user_agent: session.user_agent.clone(),
            ip: session.ip.clone(),
            created_at: session.created_at,
        }],
        events: vec![ExportedEvent {
            id: 1,
            at: session.created_at,
            kind: "login".to_owned(),
            user_id: Some(user.id),
            session_id: Some(session.id.to_string()),
            reason: None,
            ip: session.ip,
            user_agent: session.user_agent,
            other_ip: event.other_ip,
            other_user_agent: event.other_user_agent,
            subject: None,
            origin: None,
            times: event.times,
            last_at: event.last_at,
        }],
    }
}
