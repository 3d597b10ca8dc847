//! `auth-service session …` over HTTP.

use claims::SessionId;
use reqwest::Method;
use serde::Deserialize;

use super::super::console::{Failure, say};
use super::super::lines::{self, SessionLine};
use super::super::sessions::Sessions;
use super::{Remote, needs_the_database};

#[derive(Deserialize)]
pub(super) struct Session {
    id: String,
    created_at: String,
    pub(super) last_used_at: String,
    ip: Option<String>,
    device: Option<String>,
    user_agent: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    sessions: Vec<Session>,
}

pub(in super::super) async fn run(remote: &Remote, what: Sessions) -> Result<(), Failure> {
    match what {
        Sessions::List { user } => {
            let user = remote.find(&user).await?;
            for session in of(remote, &user).await? {
                say(&lines::session(&SessionLine {
                    id: session.id,
                    created_at: session.created_at,
                    last_used_at: session.last_used_at,
                    ip: session.ip.as_deref(),
                    device: session.device.as_deref(),
                    user_agent: session.user_agent.as_deref(),
                }));
            }
        }
        Sessions::Revoke { session: Some(session), .. } => {
            // Not repeated: it may be a token.
            let id: SessionId =
                session.parse().map_err(|_| "that is no session id; see `session list`")?;
            remote.send(Method::DELETE, &format!("/sessions/{id}"), None).await?;
            say(&format!("session {id} is over"));
        }
        Sessions::Revoke { all_of, .. } => {
            let user = remote.find(&all_of.ok_or("say which session")?).await?;
            remote.send(Method::DELETE, &format!("/users/{user}/sessions"), None).await?;
            say(&format!("every session of {user} is over"));
        }
        Sessions::EndAll { .. } => return Err(needs_the_database("session end-all")),
    }
    Ok(())
}

/// The live sessions of the user with this id.
pub(super) async fn of(remote: &Remote, user: &str) -> Result<Vec<Session>, Failure> {
    let page: Page = remote.get(&format!("/users/{user}/sessions"), &[]).await?;
    Ok(page.sessions)
}
