//! Registering, and one's own account.

use auth_service::config::RegistrationMode;
use auth_service::schemas::{
    Events, Me, MePatch, PasswordRequest, RegisterRequest, Registered, Sessions, who_may_register,
};
use problem::ProblemCode as Code;
use serde_json::json;

use super::examples;
use crate::document::{ParameterIn, Required, Route};

const TAG: &str = "Account";

pub(super) fn routes() -> Vec<Route> {
    let mut all = vec![register()];
    all.extend(me());
    all.extend(sessions());
    all
}

fn register() -> Route {
    Route::post("/register", "register", "Make an account")
        .says(
            "Logging in and out",
            &format!(
                "{} `Ada` and `ADA` are one name. It does not log in.",
                who_may_register(RegistrationMode::Open)
            ),
        )
        .takes::<RegisterRequest>(
            &["application/json"],
            Required::True,
            &json!({
                "username": "ada",
                "password": examples::PASSWORD,
                "email": "ada@example.org"
            }),
        )
        .answers(201, "The account.", &Registered { user: examples::user() })
        .problems(&[
            Code::Csrf,
            Code::RegistrationClosed,
            Code::InvitationInvalid,
            Code::Conflict,
            Code::PasswordPolicy,
            Code::RateLimited,
            Code::Unavailable,
        ])
}

/// The account itself.
fn me() -> Vec<Route> {
    vec![
        Route::get("/me", "me", "Who am I?")
            .says(TAG, "The account that the token speaks for, as it is now.")
            .bearer()
            .problems(&[Code::Forbidden, Code::RateLimited])
            .answers(
                200,
                "The account.",
                &Me { user: examples::user(), roles: vec!["editor".to_owned()] },
            ),
        Route::patch("/me", "changeMe", "Change the name or the address")
            .says(
                TAG,
                "A JSON merge patch (RFC 7396) of `username` and `email`: what is left out stays, and `null` takes it \
                 away. One of the two must stay. It takes a login of the last 15 minutes (RFC 9470). Sessions go on, and \
                 access tokens have the new name from the next refresh on. A changed address is not verified.",
            )
            .bearer()
            .takes::<MePatch>(
                &["application/merge-patch+json", "application/json"],
                Required::True,
                &json!({ "username": "ada", "email": null }),
            )
            .problems(&[
                Code::ReauthenticationRequired,
                Code::Forbidden,
                Code::Conflict,
                Code::RateLimited,
            ])
            .answers(
                200,
                "The account as it is now.",
                &Me { user: examples::user(), roles: vec!["editor".to_owned()] },
            ),
        Route::delete("/me", "deleteMe", "Delete the account")
            .says(
                TAG,
                "For ever. It takes a login of the last 15 minutes (RFC 9470). Every session is over and every access \
                 token is refused from then on, everywhere, and the name and the address are free. The rest of what is kept \
                 is forgotten soon afterwards. If the answer is lost, the same request gets 401 (`invalid-token`).",
            )
            .bearer()
            .problems(&[Code::ReauthenticationRequired, Code::Forbidden, Code::RateLimited])
            .empty(204, "It is deleted."),
        Route::get("/me/export", "exportMe", "What is kept about me?")
            .says(
                TAG,
                "Everything that is kept about the account, but for the hash of the password: five times, and then once in \
                 ten minutes. The answer may be long, and breaks off where the database fails in the middle of it.",
            )
            .bearer()
            .problems(&[Code::Forbidden, Code::RateLimited])
            .answers(200, "The account, invitations, sessions and events.", &examples::export()),
    ]
}

/// Where it is logged in, what happened to it, and its password.
fn sessions() -> Vec<Route> {
    vec![
        Route::get("/sessions", "sessions", "Where am I logged in?")
            .says(
                TAG,
                "The live sessions, at most 100 on a page. The caller's own is on the first page always, and on no other. `ip` \
                 and `user_agent` are those of the login.",
            )
            .bearer()
            .parameter(
                ParameterIn::Query,
                "after",
                "`next` of the page before.",
                &format!("1795287000000.{}", examples::session_id()),
            )
            .problems(&[Code::Forbidden, Code::RateLimited])
            .answers(
                200,
                "The sessions.",
                &Sessions { sessions: vec![examples::session()], next: None },
            ),
        Route::get("/sessions/events", "sessionEvents", "Why was I logged out?")
            .says(TAG, "What happened to the account, as it was written down then: of each kind the latest 20, and 40 logins and ends of sessions. What came again within ten minutes is one entry that counts.")
            .bearer()
            .problems(&[Code::Forbidden, Code::RateLimited])
            .answers(
                200,
                "The events.",
                &Events { events: vec![examples::event()] },
            ),
        Route::delete("/sessions/{id}", "endSession", "End one session")
            .says(
                TAG,
                "For a device that was lost. Its access tokens are refused from then on, everywhere. A session \
                 that had ended already answers the same.",
            )
            .bearer()
            .parameter(
                ParameterIn::Path,
                "id",
                "As in the list of sessions.",
                &examples::session_id().to_string(),
            )
            .empty(204, "It has ended.")
            .problems(&[Code::Forbidden, Code::NotFound, Code::RateLimited]),
        Route::post("/password", "changePassword", "Change the password")
            .says(
                TAG,
                "It takes the current one besides the token, so that a token that was stolen does not become an \
                 account that was stolen.",
            )
            .bearer()
            .takes::<PasswordRequest>(
                &["application/json"],
                Required::True,
                &json!({
                    "current_password": examples::PASSWORD,
                    "new_password": "quite another sentence",
                    "sessions": "others"
                }),
            )
            .empty(204, "It is changed, and the sessions have ended.")
            .problems(&[
                Code::InvalidCredentials,
                Code::Forbidden,
                Code::PasswordPolicy,
                Code::RateLimited,
            ]),
    ]
}
