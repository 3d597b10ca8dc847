//! `auth-service session …`

use crate::config::Config;
use crate::policy::find::find;
use crate::policy::{administration, restored};
use crate::store::Store;
use clap::Subcommand;

use super::console::{Failure, instant, open, say};
use super::lines::{self, SessionLine};

/// What to do with sessions. USER is `id:…`, `name:…` or `email:…`, or a bare id, name or
/// address that can mean one user only.
#[derive(Subcommand)]
pub(super) enum Sessions {
    /// List the live ones of a user, at most 100: id, begin, last use, address, device, program.
    List {
        /// Whose.
        user: String,
    },
    /// End one, or all of a user.
    Revoke {
        /// Which one. One in 64 begins with a hyphen.
        #[arg(required_unless_present = "all_of", allow_hyphen_values = true)]
        session: Option<String>,
        /// Every session of this user.
        #[arg(long, value_name = "USER", conflicts_with = "session")]
        all_of: Option<String>,
    },
    /// End every session of everybody, replace every key and take back every open invitation. After an older state of the database was
    /// restored, before anybody is served: services refuse every token of before and accept every new
    /// one. Safe to repeat, also where it was interrupted.
    EndAll {
        /// That this is what happened.
        #[arg(long, required = true)]
        after_restore: bool,
    },
}

pub(super) async fn run(config: &Config, what: Sessions) -> Result<(), Failure> {
    let store = open(config).await?;
    let done = act(config, &store, what).await;
    store.close().await;
    done
}

async fn act(config: &Config, store: &Store, what: Sessions) -> Result<(), Failure> {
    match what {
        Sessions::List { user } => {
            for session in store.sessions_of(find(store, &user).await?).await? {
                say(&lines::session(&SessionLine {
                    id: session.id.to_string(),
                    created_at: instant(session.created_at),
                    last_used_at: instant(session.last_used_at),
                    ip: session.ip.as_deref(),
                    device: session.device.as_deref(),
                    user_agent: session.user_agent.as_deref(),
                }));
            }
        }
        Sessions::Revoke { session: Some(session), .. } => {
            // Not repeated: it may be a token.
            let id = session.parse().map_err(|_| "that is no session id; see `session list`")?;
            administration::end_session(store, id).await?;
            say(&format!("session {id} is over"));
        }
        Sessions::Revoke { all_of, .. } => {
            let user = all_of.ok_or("say which session")?;
            let user = find(store, &user).await?;
            administration::end_all_sessions(store, user).await?;
            say(&format!("every session of {user} is over"));
        }
        Sessions::EndAll { after_restore: _ } => {
            let ended = restored::end_all(config, store).await?;
            say(&format!(
                "every session is over: {} users, {} keys replaced, {} invitations taken back; services may start",
                ended.users, ended.keys, ended.invitations
            ));
        }
    }
    Ok(())
}
