//! Logging out: whose sessions end, by everything that a request shows.

use claims::Transport;
use verifier::{Denial, Protection, Rejection};

use crate::error::Error;
use crate::policy::app::App;
use crate::policy::callers;
use crate::policy::sessions::{self, Ending};
use crate::store::Caller;

/// What a request shows of who wants out.
pub(crate) struct Shown<'a> {
    /// The refresh tokens, ours or not: the body's, then the cookie's.
    pub(crate) refresh_tokens: Vec<(&'a str, Transport)>,
    /// Why there is a cookie that does not count.
    pub(crate) refused_cookie: Option<Error>,
    /// The access token's caller, where that is of a session, or why it is refused.
    pub(crate) bearer: Result<Option<Caller>, Denial>,
}

/// Ends the sessions of everybody whom the request shows. What can be ended is ended, also where not all
/// of it can be judged; that is an error then.
pub(crate) async fn log_out(
    app: &App,
    protection: &Protection,
    shown: Shown<'_>,
    ending: Ending,
) -> Result<(), Error> {
    let known = callers::can_be_judged(app, shown.refresh_tokens.iter().copied()).await;
    match callers(app, protection, shown, ending) {
        Ok((callers, unjudged)) => {
            let done = sessions::log_out(app, &callers, ending).await;
            done.and(unjudged.map_or(Ok(()), Err)).and(known)
        }
        // The token that cannot be judged may have been a better one.
        Err(error) => Err(known.err().unwrap_or(error)),
    }
}

/// The callers whose sessions are to end, and why an access token beside them could not be judged. The
/// list is empty, and that is no error, where the credentials for `current` name no session of ours. A
/// bad access token alone is an error, so that nobody believes they are logged out who is not.
fn callers(
    app: &App,
    protection: &Protection,
    shown: Shown<'_>,
    ending: Ending,
) -> Result<(Vec<Caller>, Option<Error>), Error> {
    let Shown { refresh_tokens, refused_cookie, bearer } = shown;
    let current = ending == Ending::Current;
    // A token whose key was revoked ends its own session, and acts on no other.
    let read = if current { callers::by_refresh_token_to_end } else { callers::by_refresh_token };
    let any_refresh = !refresh_tokens.is_empty();
    let tokens = refresh_tokens.into_iter();
    let mut callers: Vec<_> = tokens.filter_map(|(text, by)| read(app, text, by)).collect();
    match bearer {
        Ok(Some(caller)) => callers.push(caller),
        Ok(None) if callers.is_empty() => return Err(Error::Forbidden),
        Ok(None) => {}
        // It may be good, and its session may live on: that is no logout, whatever came beside it.
        Err(why @ Denial::Rejected(Rejection::Stale | Rejection::NoKeys))
            if current || callers.is_empty() =>
        {
            let why = protection.challenge(why).into();
            return if current { Ok((callers, Some(why))) } else { Err(why) };
        }
        // Somebody else wants out.
        Err(_) if !callers.is_empty() => {}
        // Its session is over already, which is what was asked for.
        Err(Denial::Rejected(Rejection::SessionRevoked | Rejection::SubjectRevoked)) if current => {
        }
        Err(why) => match refused_cookie {
            Some(refused) => return Err(refused),
            None if any_refresh && current => {}
            None if any_refresh => return Err(Error::InvalidToken),
            None if current && matches!(why, Denial::NoCredential) => {}
            None => return Err(protection.challenge(why).into()),
        },
    }
    Ok((callers, None))
}
