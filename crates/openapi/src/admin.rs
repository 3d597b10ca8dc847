//! What the routes of administrators take and answer.

mod routes;

use crate::auth_service::ISSUER;
use crate::document::{self, About, bearer};

/// Where the internal listener is unless it is set to be elsewhere.
const SERVER: &str = "http://127.0.0.1:9080";

/// What holds for every route.
const ABOUT: &str = "\
What administrators do, on the internal listener. It takes an access token that is for the auth-service alone \
(`resource` at login is the issuer), has the scope of the route, and comes of a login of the last 15 minutes. The \
session must be live and the roles of its user must still grant the scope. No role grants any unless the settings say so. \
Requests must come by https, or from the machine itself.

Whoever has a role that grants scopes of administrators can be changed only by an administrator whose token and roles \
allow all of those; the same holds for giving and taking such roles. Else the answer is 403 (`forbidden`).

A `POST` may have an `Idempotency-Key`, a string in quotes: the same request with the same key is done once within a day, \
and answered with the id of what was made then. Another request with it is answered 422 (`idempotency-key-reused`). Two at \
once are done once.

A list has `next` where there is more: send it as `after`. Requests, answers and problems are as in the document of the \
auth-service. The names of users are in queries: a proxy in front should not log those.";

/// The document.
#[must_use]
pub fn document() -> String {
    let about = About {
        title: "Latchkey: administration",
        description: ABOUT,
        server: SERVER,
        issuer: ISSUER,
        security: vec![("bearer", bearer())],
        tags: &[
            ("Users", "Scopes `latchkey:users:read` and `latchkey:users:write`."),
            ("Sessions", "Scopes `latchkey:users:read` and `latchkey:sessions:end`."),
            ("Invitations", "Scopes `latchkey:users:read` and `latchkey:users:write`."),
            ("Keys", "Scope `latchkey:keys`."),
            ("Audit log", "Scope `latchkey:audit:read`."),
            ("Documentation", "What this interface says of itself."),
        ],
    };
    document::document(&about, routes::all())
}
