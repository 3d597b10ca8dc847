//! `auth-service user invite`, `user invitations` and `user uninvite`.

use secrecy::ExposeSecret;

use crate::config::Config;
use crate::policy::administration;
use crate::store::{InvitationState, Store};

use super::console::{Failure, instant, say};
use super::lines::{self, InvitationLine};

const PAGE: i64 = 500;

/// Makes one, and prints the token: nobody can learn it afterwards.
pub(super) async fn invite(
    config: &Config,
    store: &Store,
    email: Option<String>,
    hours: u32,
) -> Result<(), Failure> {
    let mode = config.registration_mode();
    let (invitation, token) = administration::invite(store, mode, email, hours, None).await?;
    let token = token.as_ref().map(ExposeSecret::expose_secret);
    let link = token.and_then(|token| administration::link(config, token));
    let (id, end) = (invitation.id.to_string(), instant(invitation.expires_at));
    say(&lines::new_invitation(&id, token, &end, link.as_deref()));
    Ok(())
}

pub(super) async fn list(store: &Store) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.list_invitations(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for one in &page {
            let user = match one.state {
                InvitationState::Used(user) => Some(user.to_string()),
                _ => None,
            };
            say(&lines::invitation(&InvitationLine {
                id: one.id.to_string(),
                email: one.email.as_deref(),
                state: one.state.as_str(),
                created_at: instant(one.created_at),
                expires_at: instant(one.expires_at),
                user,
            }));
        }
    }
}

pub(super) async fn revoke(store: &Store, text: &str) -> Result<(), Failure> {
    // Not repeated: it may be the token.
    let id = text.parse().map_err(|_| "that is no id of an invitation; see `user invitations`")?;
    administration::revoke_invitation(store, id).await?;
    say(&format!("invitation {id} is revoked"));
    Ok(())
}
