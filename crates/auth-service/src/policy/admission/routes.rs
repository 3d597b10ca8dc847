//! The limits of everything but logins.

use claims::{SessionId, UserId};

use super::buckets::{address, bucket, guesses, rate, whose};
use super::refusal::refuse;
use crate::error::Error;
use crate::identity::pseudonyms::Pseudonym;
use crate::limits::{Attempt, Rule};
use crate::policy::app::App;
use crate::store::Requester;

/// Exports of one user: at once, and later.
const EXPORTS: Rule = Rule::Rate { burst: 5, interval_ms: 10 * 60 * 1000 };

/// Admits a registration. Each costs a password hash, and tells whether a name is taken.
pub(crate) async fn register(app: &App, requester: &Requester) -> Result<Attempt, Error> {
    let (limits, settings) = (&app.limits, &app.limits.settings);
    let rule = rate(settings.register_burst, settings.register_per_hour, 3600);
    let bucket = bucket("register", app.pseudonyms.network(address(requester)), rule);
    let buckets: Vec<_> = bucket.into_iter().collect();
    limits.attempt(&buckets).await.map_err(|refusal| refuse(app, refusal))
}

/// Admits a change of what a user is called, which tells whether a name is taken as a registration does, and so has
/// the same bounds: for the user, whatever their session, and for the network, whoever the users are.
pub(crate) async fn names(
    app: &App,
    user: UserId,
    requester: &Requester,
) -> Result<Attempt, Error> {
    let (limits, settings) = (&app.limits, &app.limits.settings);
    let rule = || rate(settings.register_burst, settings.register_per_hour, 3600);
    let network = app.pseudonyms.network(address(requester));
    let of_user = bucket("names", of_user(app, user), rule());
    let of_network = bucket("names-network", network, rule());
    let buckets: Vec<_> = of_user.into_iter().chain(of_network).collect();
    limits.attempt(&buckets).await.map_err(|refusal| refuse(app, refusal))
}

/// Admits an export, which may be much work for the database. Counted in this process only.
pub(crate) fn export(app: &App, user: UserId) -> Result<(), Error> {
    let bucket = bucket("export", of_user(app, user), Some(EXPORTS));
    app.limits.token(bucket).map_err(|refusal| refuse(app, refusal))
}

fn of_user(app: &App, user: UserId) -> Pseudonym {
    app.pseudonyms.of("user", &[user.to_string().as_bytes()])
}

/// Admits a guess at the present password by whoever has this session's access token.
pub(crate) async fn password(app: &App, session: SessionId) -> Result<Attempt, Error> {
    let limits = &app.limits;
    let bucket = guesses(&limits.settings, "password", whose(app, session));
    let buckets: Vec<_> = bucket.into_iter().collect();
    limits.attempt(&buckets).await.map_err(|refusal| refuse(app, refusal))
}

/// Admits a refresh of this session.
pub(crate) fn refresh(app: &App, session: SessionId) -> Result<(), Error> {
    let (limits, settings) = (&app.limits, &app.limits.settings);
    let rule = rate(settings.refresh_burst, settings.refresh_per_minute, 60);
    let bucket = bucket("refresh", whose(app, session), rule);
    limits.token(bucket).map_err(|refusal| refuse(app, refusal))
}

/// Requests of one administrator: enough for a program that reads a million users, and little enough that a stolen
/// token changes not everything before somebody notices.
const OF_AN_ADMINISTRATOR: Rule = Rule::Rate { burst: 600, interval_ms: 20 };

/// Admits a request of the administrator who has this session.
pub(crate) fn administrator(app: &App, session: SessionId) -> Result<(), Error> {
    let bucket = bucket("admin", whose(app, session), Some(OF_AN_ADMINISTRATOR));
    app.limits.token(bucket).map_err(|refusal| refuse(app, refusal))
}

/// The answer to a token that was never ours. Counted afterwards, and for nothing but such tokens:
/// a good one is never refused because of what its neighbours on the network send, and one that has
/// expired is an honest client's.
pub(crate) fn forged(app: &App, requester: &Requester, otherwise: Error) -> Error {
    let (limits, settings) = (&app.limits, &app.limits.settings);
    let rule = rate(settings.forged_burst, settings.forged_per_minute, 60);
    let bucket = bucket("tokens", app.pseudonyms.network(address(requester)), rule);
    match limits.token(bucket) {
        Ok(()) => otherwise,
        Err(refusal) => refuse(app, refusal),
    }
}
