//! The bearer token of a request; those that are none are counted.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use verifier::{Bearer as Verified, Challenge, Denial, Rejection};

use super::requester;
use crate::error::Error;
use crate::policy::admission;
use crate::policy::app::App;

/// A verified bearer token.
pub(crate) struct Bearer(pub(crate) Verified);

impl FromRequest for Bearer {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let verified = Verified::from_request(request, payload).into_inner();
        ready(verified.map(Self).map_err(|challenge| answer(request, challenge)))
    }
}

fn answer(request: &HttpRequest, challenge: Challenge) -> Error {
    let app = request.app_data::<web::Data<App>>();
    match (app, challenge.why()) {
        (Some(app), Denial::Rejected(why)) if was_never_good(why) => {
            admission::forged(app, &requester::of(app, request), challenge.into())
        }
        _ => challenge.into(),
    }
}

/// Honest clients send tokens that have expired or were revoked, tokens from before a key change, and tokens
/// that we made for another service; it is not their fault either when they cannot be judged.
const fn was_never_good(why: Rejection) -> bool {
    !matches!(
        why,
        Rejection::Audience
            | Rejection::Expired
            | Rejection::NotYetValid
            | Rejection::IssuedInFuture
            | Rejection::UnknownKey
            | Rejection::SessionRevoked
            | Rejection::SubjectRevoked
            | Rejection::TokenRevoked
            | Rejection::KeyRevoked
            | Rejection::NoKeys
            | Rejection::Stale
    )
}
