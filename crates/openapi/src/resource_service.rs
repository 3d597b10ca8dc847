//! What the public routes of the resource-service take and answer, in words and by the types they use.

use std::str::FromStr;

use claims::Timestamp;
use problem::ProblemCode as Code;
use resource_service::schemas::{Live, Metadata, NewReport, Ready, Report, ReportList, WhoAmI};
use serde_json::json;

use crate::document::{self, About, ParameterIn, Required, Route, bearer};

/// Where the auth-service is unless it is set to be elsewhere.
const ISSUER: &str = crate::auth_service::ISSUER;
/// Where this one is.
const SERVER: &str = "http://127.0.0.1:8081";

const ABOUT: &str = "\
A service that verifies Latchkey's access tokens by itself, asks nobody on a request, and yet refuses a token \
moments after its session was logged out. It keeps a few reports so that there is something to protect.

Get an access token by logging in at the auth-service. What goes wrong is answered as `application/problem+json` \
(RFC 9457); its `type` leads to a page there. Challenges follow RFC 6750. Where revocations cannot be checked, \
this service answers 503 in place of an acceptance.";

const TOKENS: &str = "By access token";
const ANYONE: &str = "Metadata";

/// The document.
#[must_use]
pub fn document() -> String {
    let about = About {
        title: "Latchkey: the demo service",
        description: ABOUT,
        server: SERVER,
        issuer: ISSUER,
        security: vec![("bearer", bearer())],
        tags: &[
            (TOKENS, "Each needs a token that is meant for this service."),
            (ANYONE, "What anyone may know."),
            ("Documentation", "What this service says of itself."),
        ],
    };
    document::document(&about, protected().into_iter().chain(public()).collect())
}

fn protected() -> Vec<Route> {
    vec![
        Route::get("/whoami", "whoami", "Whom does the token speak for?")
            .says(TOKENS, "It needs no particular scope.")
            .bearer()
            .answers(200, "What the token says.", &whoami()),
        Route::get("/reports", "reports", "Read your reports")
            .says(TOKENS, "It needs the scope `reports:read`.")
            .bearer()
            .problems(&[Code::Forbidden])
            .answers(200, "Your reports.", &ReportList { reports: vec![report()] }),
        Route::post("/reports", "addReport", "Write a report")
            .says(
                TOKENS,
                "It needs the scope `reports:write`. At most 100 are kept for each user, in memory; the oldest goes.",
            )
            .bearer()
            .takes::<NewReport>(
                &["application/json"],
                Required::True,
                &json!({ "title": "What the night shift saw" }),
            )
            .problems(&[Code::Forbidden])
            .answers(201, "The report.", &report()),
        Route::delete("/reports/{id}", "removeReport", "Remove a report")
            .says(TOKENS, "It needs the scope `reports:write` and a login at most 5 minutes old (RFC 9470).")
            .bearer()
            .parameter(
                ParameterIn::Path,
                "id",
                "As in the list of reports.",
                &report().id.to_string(),
            )
            .empty(204, "It is gone.")
            .problems(&[Code::ReauthenticationRequired, Code::Forbidden, Code::NotFound]),
    ]
}

fn public() -> Vec<Route> {
    let metadata = Metadata {
        resource: SERVER.to_owned(),
        authorization_servers: [ISSUER.to_owned()],
        scopes_supported: ["reports:read", "reports:write"],
        bearer_methods_supported: ["header"],
    };
    let ready =
        |status: &str, age| Ready { status: status.to_owned(), revocation_age_ms: Some(age) };
    let mut routes = vec![
        Route::get("/.well-known/oauth-protected-resource", "metadata", "Metadata")
            .says(ANYONE, "Whose tokens are accepted here (RFC 9728).")
            .answers(200, "The metadata.", &metadata),
        Route::get("/health/live", "live", "Does it run?")
            .says(ANYONE, "For whoever restarts it. It touches nothing.")
            .answers(200, "It runs.", &Live { status: "live" }),
        Route::get("/health/ready", "ready", "Can it serve?")
            .says(ANYONE, "For whoever sends it requests: it has keys, and its knowledge of revocations is fresh.")
            .answers(200, "It can.", &ready("ready", 12))
            .answers(503, "It cannot, or is about to stop.", &ready("revocations are stale", 31_000)),
    ];
    routes.extend(document::documentation());
    routes
}

/// What is known to be well-formed.
fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is an example"))
}

fn whoami() -> WhoAmI {
    WhoAmI {
        sub: parsed("01a20013-fec0-70fb-8f69-81a9924a8b57"),
        username: Some("ada".to_owned()),
        client_id: parsed("latchkey"),
        scope: Some(parsed("profile reports:read reports:write")),
        roles: vec!["editor".to_owned()],
        session_id: Some(parsed("xpiap7Dtk4nF3UttaF01FA")),
        expires_in: 580,
    }
}

fn report() -> Report {
    Report {
        id: parsed("01a20014-8f1c-7d42-9a3e-5b7c6d8e9f01"),
        title: "What the night shift saw".to_owned(),
        created_at: Timestamp(1_795_287_000_000),
    }
}
