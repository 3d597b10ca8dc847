//! Logging in, refreshing, logging out.

use auth_service::schemas::{LoginRequest, LogoutRequest, RefreshRequest};
use problem::ProblemCode as Code;
use serde_json::json;

use super::examples;
use crate::document::{Required, Route};

const TAG: &str = "Logging in and out";
const COOKIE: &str = "With `transport` `cookie`: `__Host-Http-refresh`, which is then the only place that has the \
                      refresh token.";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/login", "login", "Log in")
            .says(
                TAG,
                "Opens a session. An unknown name, a wrong password and a disabled account get the same answer \
                 after the same time. With `transport` `body`, the default, the body may be a form as well.\n\n\
                 A login with the cookie ends the session whose cookie came along.\n\n\
                 `resource` names the services that the session is for. A scope that takes a role which the person does not \
                 have, or that belongs to another service, is left out; `scope` in the answer says what was granted.",
            )
            .optionally(&["cookie"])
            .takes::<LoginRequest>(
                &["application/json", "application/x-www-form-urlencoded"],
                Required::True,
                &json!({ "username": "ada", "password": examples::PASSWORD, "device": "the blue laptop" }),
            )
            .answers(200, "The tokens of the session.", &examples::tokens())
            .header(200, "Set-Cookie", COOKIE)
            .problems(&[
                Code::InvalidTarget,
                Code::InvalidCredentials,
                Code::Csrf,
                Code::RateLimited,
                Code::Unavailable,
            ]),
        Route::post("/refresh", "refresh", "Get new tokens")
            .says(
                TAG,
                "Spends the refresh token and answers with its successor and a fresh access token; within 30 seconds \
                 of the last rotation, with the current refresh token and a fresh access token. The token comes \
                 in the cookie (and `{}` in the body) or in the body, which counts before a cookie that came along; \
                 where it came from is where its successor goes.\n\n\
                 A session rotates at most once in 30 seconds. In that time the spent token and its successor both \
                 get the successor, so a lost answer, a second tab or ten calls at once log nobody out. After that \
                 a spent token is taken for theft: the session ends.\n\n\
                 `resource` narrows the access token of this answer, and nothing else: the next refresh may name other \
                 services of the session. Where it is refused with `invalid-target`, no token was spent.",
            )
            .optionally(&["cookie"])
            .takes::<RefreshRequest>(
                &["application/json"],
                Required::False,
                &json!({ "refresh_token": examples::REFRESH }),
            )
            .answers(200, "The tokens that follow.", &examples::tokens())
            .header(200, "Set-Cookie", "Where the token came in the cookie: the current one.")
            .problems(&[
                Code::InvalidTarget,
                Code::Unauthenticated,
                Code::InvalidToken,
                Code::SessionExpired,
                Code::SessionRevoked,
                Code::TokenReused,
                Code::Csrf,
                Code::RateLimited,
                Code::Unavailable,
            ]),
        Route::post("/logout", "logout", "Log out")
            .says(
                TAG,
                "By refresh token in the body, refresh token in the cookie, or access token. The session of each that \
                 the request names ends; `others` and `all` act for the first of them that is good. Any refresh token \
                 that the session ever had ends it; for the `others` or `all` it must be a current one. Without any \
                 credential there is nothing to end, and that is answered 204 as well; an access token alone that \
                 is no longer good is refused, so that nobody believes to be out who is not.\n\n\
                 204 means that it is written down: services refuse the access tokens from then on.",
            )
            .optionally(&["cookie", "bearer"])
            .takes::<LogoutRequest>(
                &["application/json"],
                Required::False,
                &json!({ "refresh_token": examples::REFRESH, "sessions": "current" }),
            )
            .empty(204, "They have ended.")
            .header(204, "Set-Cookie", "Clears the cookie, except with `sessions` `others`.")
            .problems(&[
                Code::Unauthenticated,
                Code::InvalidToken,
                Code::Csrf,
                Code::Forbidden,
                Code::Unavailable,
                Code::RevocationStale,
            ]),
    ]
}
