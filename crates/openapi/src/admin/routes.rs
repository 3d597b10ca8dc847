//! The routes, in the order of their chapters.

use auth_service::schemas::{
    AdminEvent, AdminEvents, AdminInvitation, AdminInvitations, AdminKey, AdminKeys, AdminSessions,
    AdminUser, AdminUsers, ChangeUserRequest, CreateUserRequest, CreatedUser, NewAdminInvitation,
    NewInvitationRequest, RotateRequest, SetPasswordRequest,
};
use claims::Timestamp;
use problem::ProblemCode as Code;
use serde_json::json;

use crate::auth_service::examples::{self, NOW, parsed};
use crate::document::{OpenApiDocument, ParameterIn, Required, Route};

const JSON: &[&str] = &["application/json"];
const USER: &str = "01a20013-fec0-70fb-8f69-81a9924a8b57";
const INVITATION: &str = "01a20014-0a00-7c11-9d52-0c1f52b3e6aa";

pub(super) fn all() -> Vec<Route> {
    [users(), sessions(), invitations(), keys(), events()].into_iter().flatten().collect()
}

/// What every one of them can answer.
fn admin(route: Route) -> Route {
    route.bearer().problems(&[Code::ReauthenticationRequired, Code::Forbidden, Code::RateLimited])
}

fn paged(route: Route, after: &str) -> Route {
    route.parameter(ParameterIn::Query, "after", "`next` of the page before.", after).parameter(
        ParameterIn::Query,
        "limit",
        "1 to 500; 100 if absent.",
        "100",
    )
}

fn once(route: Route) -> Route {
    let text = "A string in quotes, 1 to 128 visible characters.";
    route
        .parameter(ParameterIn::Header, "Idempotency-Key", text, "\"8e03978e-40d5-43dd-bc93\"")
        .problems(&[Code::IdempotencyKeyReused])
}

fn of_user(route: Route) -> Route {
    route
        .parameter(ParameterIn::Path, "id", "The id of the user.", USER)
        .problems(&[Code::NotFound])
}

fn user() -> AdminUser {
    let user = examples::user();
    AdminUser {
        id: user.id,
        username: user.username,
        email: user.email,
        roles: vec!["editor".to_owned()],
        enabled: true,
        created_at: user.created_at,
    }
}

fn users() -> Vec<Route> {
    const TAG: &str = "Users";
    let list = Route::get("/admin/v1/users", "users", "List users").says(
        TAG,
        "In the order in which they registered; with `search`, those whose name begins so by their names, and then those \
         of whom only the address does by their addresses; with `user`, the one who is meant by it. Takes \
         `latchkey:users:read`.",
    );
    let one = "The one user `id:…`, `name:…` or `email:…`, or a bare id, name or address that can mean one only.";
    let create = Route::post("/admin/v1/users", "createUser", "Make an account")
        .says(TAG, "Whoever may register elsewhere. Takes `latchkey:users:write`.")
        .takes::<CreateUserRequest>(
            JSON,
            Required::True,
            &json!({"username": "ada", "password": examples::PASSWORD, "roles": ["editor"]}),
        )
        .answers(201, "The account is made.", &CreatedUser { id: examples::user().id })
        .header(201, "Location", "Where it is.")
        .problems(&[Code::Conflict, Code::PasswordPolicy]);
    let show = Route::get("/admin/v1/users/{id}", "user", "Show a user")
        .says(TAG, "Takes `latchkey:users:read`.")
        .answers(200, "The user.", &user());
    let change = Route::patch("/admin/v1/users/{id}", "changeUser", "Change a user")
        .says(TAG, "All of it or nothing. Takes `latchkey:users:write`.")
        .takes::<ChangeUserRequest>(
            JSON,
            Required::True,
            &json!({"enabled": true, "roles": ["editor"]}),
        )
        .answers(200, "The user as they are now, for whoever may look at users.", &user())
        .empty(204, "It is done. Without `latchkey:users:read` nothing is told of the user.")
        .problems(&[Code::Conflict]);
    let delete = Route::delete("/admin/v1/users/{id}", "deleteUser", "Delete a user")
        .says(
            TAG,
            "For ever: every session ends and the name is free at once; the rest is forgotten within minutes. Takes \
             `latchkey:users:write`.",
        )
        .empty(204, "They are deleted.");
    let export = Route::get("/admin/v1/users/{id}/export", "exportUser", "Export a user")
        .says(
            TAG,
            "Everything that is kept about them, as in `GET /me/export` of the auth-service. Takes \
             `latchkey:users:read` and, for what the audit log has of them, `latchkey:audit:read`.",
        )
        .answers(200, "The export.", &examples::export());
    let password = Route::put("/admin/v1/users/{id}/password", "setPassword", "Set a password")
        .says(TAG, "Ends every session of the user. Takes `latchkey:users:write`.")
        .takes::<SetPasswordRequest>(JSON, Required::True, &json!({"password": examples::PASSWORD}))
        .empty(204, "It is set.")
        .problems(&[Code::PasswordPolicy]);
    vec![
        paged(admin(list), USER)
            .parameter(ParameterIn::Query, "search", "How a name or an address begins.", "ad")
            .parameter(ParameterIn::Query, "user", one, "name:ada")
            .answers(200, "A page.", &AdminUsers { users: vec![user()], next: None })
            .problems(&[Code::NotFound]),
        once(admin(create)),
        of_user(admin(show)),
        of_user(admin(change)),
        of_user(admin(delete)),
        of_user(admin(export)),
        of_user(admin(password)),
    ]
}

fn sessions() -> Vec<Route> {
    const TAG: &str = "Sessions";
    let list = Route::get("/admin/v1/users/{id}/sessions", "sessionsOf", "List a user's sessions")
        .says(TAG, "The live ones, at most 100. Takes `latchkey:users:read`.")
        .answers(200, "The sessions.", &AdminSessions { sessions: vec![examples::session()] });
    let all =
        Route::delete("/admin/v1/users/{id}/sessions", "endSessionsOf", "End a user's sessions")
            .says(TAG, "All of them. Takes `latchkey:sessions:end`.")
            .empty(204, "They are over.");
    let one = Route::delete("/admin/v1/sessions/{id}", "endSession", "End a session")
        .says(
            TAG,
            "Whosever it is. One that nobody knows, or that ended more than a week ago, is answered 404. Takes \
             `latchkey:sessions:end`.",
        )
        .parameter(ParameterIn::Path, "id", "The id of the session.", "xpiap7Dtk4nF3UttaF01FA")
        .empty(204, "It is over, now or before.")
        .problems(&[Code::NotFound]);
    vec![of_user(admin(list)), of_user(admin(all)), admin(one)]
}

fn invitation() -> AdminInvitation {
    AdminInvitation {
        id: parsed(INVITATION),
        email: Some("grace@example.org".to_owned()),
        state: "open",
        created_at: Timestamp(NOW),
        expires_at: Timestamp(NOW + 259_200_000),
        user_id: None,
    }
}

fn invitations() -> Vec<Route> {
    const TAG: &str = "Invitations";
    let list = Route::get("/admin/v1/invitations", "invitations", "List invitations")
        .says(TAG, "In the order in which they were made. Takes `latchkey:users:read`.")
        .answers(200, "A page.", &AdminInvitations { invitations: vec![invitation()], next: None });
    let token = "inv1.5nJ0dD3m1pU9aJx8Zk4tQ2vVw7Yb6Rc0";
    let create = Route::post("/admin/v1/invitations", "invite", "Invite somebody")
        .says(
            TAG,
            "Where registration is by invitation. The token is in this answer and nowhere else; where the answer was \
             lost, revoke the invitation that the repetition names, and make another. Takes `latchkey:users:write`.",
        )
        .takes::<NewInvitationRequest>(
            JSON,
            Required::True,
            &json!({"email": "grace@example.org", "expires_hours": 72}),
        )
        .answers(
            201,
            "The invitation.",
            &NewAdminInvitation {
                invitation: invitation(),
                token: Some(token.to_owned()),
                link: Some(format!("http://127.0.0.1:8080/#invitation={token}")),
            },
        )
        .problems(&[Code::Conflict, Code::NotFound]);
    let revoke = Route::delete("/admin/v1/invitations/{id}", "uninvite", "Revoke an invitation")
        .says(TAG, "Takes `latchkey:users:write`.")
        .parameter(ParameterIn::Path, "id", "The id of the invitation.", INVITATION)
        .empty(204, "It is revoked.")
        .problems(&[Code::NotFound]);
    vec![paged(admin(list), INVITATION), once(admin(create)), admin(revoke)]
}

fn key() -> AdminKey {
    AdminKey {
        id: parsed("Zk4tQ2vVw7Yb6Rc0"),
        purpose: "sign",
        algorithm: Some("ES256"),
        state: "published",
        since: Timestamp(NOW),
        takes_over_after: Some(3600),
        logs_out_until: None,
    }
}

fn keys() -> Vec<Route> {
    const TAG: &str = "Keys";
    let list = Route::get("/admin/v1/keys", "keys", "List keys")
        .says(TAG, "All of them, the oldest first, without their secrets. Takes `latchkey:keys`.")
        .answers(200, "The keys.", &AdminKeys { keys: vec![key()] });
    let rotate = Route::post("/admin/v1/keys", "rotateKey", "Publish the next key")
        .says(
            TAG,
            "It takes over after `keys.publish_seconds`, or at once with `now`. Where one is published already, it is \
             that one. No more than eight keys of a purpose are made within a day. Takes `latchkey:keys`.",
        )
        .takes::<RotateRequest>(JSON, Required::True, &json!({"purpose": "sign", "now": false}))
        .answers(201, "The key, as it is now.", &key())
        .problems(&[Code::NotFound, Code::TooManyKeys]);
    let revoke = Route::delete("/admin/v1/keys/{id}", "revokeKey", "Revoke a key")
        .says(
            TAG,
            "For ever: services refuse everything that it signed, or will sign. The next one takes over at once; where \
             that has to be made, and eight were made within a day, a key of that day is not revoked. Takes \
             `latchkey:keys`.",
        )
        .parameter(ParameterIn::Path, "id", "The id of the key.", "Zk4tQ2vVw7Yb6Rc0")
        .empty(204, "It is revoked.")
        .problems(&[Code::NotFound, Code::TooManyKeys]);
    vec![admin(list), once(admin(rotate)), admin(revoke)]
}

fn events() -> Vec<Route> {
    let event = AdminEvent {
        id: 4711,
        at: Timestamp(NOW),
        kind: "user-disabled".to_owned(),
        user_id: Some(examples::user().id),
        actor: Some(claims::UserId(parsed("01a20013-0000-70fb-8f69-81a9924a8b57"))),
        session_id: None,
        reason: None,
        ip: None,
        user_agent: None,
        other_ip: None,
        other_user_agent: None,
        subject: None,
        origin: None,
        times: 1,
        last_at: None,
    };
    let list = Route::get("/admin/v1/events", "events", "Read the audit log")
        .says(
            "Audit log",
            "The latest first. A page looks at 10,000 entries at most, so it may have few of them, or none, although \
             there is a `next`. Takes `latchkey:audit:read`.",
        )
        .parameter(ParameterIn::Query, "user", "What happened to this user's account: an id.", USER)
        .parameter(ParameterIn::Query, "kind", "What happened, by its name.", "user-disabled")
        .parameter(ParameterIn::Query, "since", "RFC 3339: then, or later.", "2026-11-21T00:00:00Z")
        .parameter(ParameterIn::Query, "until", "RFC 3339: before that.", "2026-11-22T00:00:00Z")
        .answers(200, "A page.", &AdminEvents { events: vec![event], next: Some(4711) });
    let document = Route::get("/admin/v1/openapi.json", "adminOpenapi", "This document")
        .says("Documentation", "OpenAPI 3.1. It takes no token.")
        .answers(200, "The document.", &OpenApiDocument { openapi: "3.1.0" });
    vec![paged(admin(list), "4711"), document]
}
