//! What the public routes of the auth-service take and answer, in words and by the types they use.

mod accounts;
pub(crate) mod examples;
mod public;
mod sessions;

use crate::document::{self, About, bearer, cookie};

/// Where the service is unless it is set to be elsewhere.
pub(crate) const ISSUER: &str = "http://127.0.0.1:8080";

/// What holds for every route.
const ABOUT: &str = "\
People register and log in here. They get a short-lived access token, which other services verify by \
themselves, and a refresh token: each refresh answers with the current one, which replaces it. If an answer is \
lost, give up after about 4 seconds and try again with the same token.

Requests and answers are JSON. A body has at most 16 KiB, no member twice and none that is not named here. \
Durations are in seconds, instants in UTC (RFC 3339). Ignore members of answers that you do not know.

What goes wrong is answered as `application/problem+json` (RFC 9457). Match on `code`, show `detail` to people, \
and quote `request_id`, which every answer also has in `x-request-id`, to whoever runs the service. A path that \
has other methods answers 405 (`method-not-allowed`) with `Allow`, an unknown one 404 (`not-found`). `HEAD` is \
answered wherever `GET` is.

`/login`, `/register`, `/refresh` and `/logout` are for pages of this service and of the origins that it allows, and \
for programs, which say neither `Origin` nor `Sec-Fetch-Site`: to pages of others they answer 403 (`csrf`).

A refresh token travels in bodies, or in a cookie that scripts cannot read: say which at login. A request with the \
cookie must be `application/json` and come from a page of this service or of an origin that it allows; where the \
browser says neither `Origin` nor `Sec-Fetch-Site`, it must carry `x-latchkey: 1`.";

/// The document.
#[must_use]
pub fn document() -> String {
    let about = About {
        title: "Latchkey: accounts and sessions",
        description: ABOUT,
        server: ISSUER,
        issuer: ISSUER,
        security: vec![("bearer", bearer()), ("cookie", cookie())],
        tags: &[
            ("Logging in and out", "From a name and a password to tokens, and back to nothing."),
            ("Account", "A person's own account and sessions, by access token."),
            ("Metadata", "What anyone may know: keys, addresses, health."),
            ("Documentation", "What this service says of itself."),
        ],
    };
    let routes = accounts::routes().into_iter().chain(sessions::routes()).chain(public::routes());
    document::document(&about, routes.chain(document::documentation()).collect())
}
