//! `auth-service user invite`, `user invitations` and `user uninvite`.

use secrecy::ExposeSecret as _;

use crate::config::Config;
use crate::policy::administration;
use crate::store::{InvitationState, Store};

use super::console::{Failure, instant, say};

const PAGE: i64 = 500;

/// Makes one, and prints the token: nobody can learn it afterwards.
pub(super) async fn invite(
    config: &Config,
    store: &Store,
    email: Option<String>,
    hours: u32,
) -> Result<(), Failure> {
    let mode = config.registration_mode();
    let (invitation, token) = administration::invite(store, mode, email, hours).await?;
    let token = token.expose_secret();
    // Behind a #, where neither a server nor its log nor the next page is told of it.
    let link = if config.page.enabled {
        format!("{}/#invitation={token}", config.issuer)
    } else {
        "-".to_owned()
    };
    say(&format!("{}\t{token}\t{}\t{link}", invitation.id, instant(invitation.expires_at)));
    Ok(())
}

pub(super) async fn list(store: &Store) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.list_invitations(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for one in &page {
            let (state, user) = match one.state {
                InvitationState::Open => ("open", None),
                InvitationState::Used(user) => ("used", Some(user.to_string())),
                InvitationState::Revoked => ("revoked", None),
                InvitationState::Expired => ("expired", None),
            };
            say(&format!(
                "{}\t{}\t{state}\t{}\t{}\t{}",
                one.id,
                one.email.as_deref().unwrap_or("-"),
                instant(one.created_at),
                instant(one.expires_at),
                user.as_deref().unwrap_or("-"),
            ));
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
