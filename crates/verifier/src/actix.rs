//! An extractor for actix-web: [`Bearer`] in a handler's arguments means the token was verified.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use claims::{Problem, ProblemCode};

use crate::rejection::Rejection;
use crate::verified::Verified;
use crate::verify::Verifier;

/// What the extractor needs; give it to the app as `web::Data`.
#[derive(Debug)]
pub struct Protection {
    verifier: Arc<Verifier>,
    challenge: Arc<Challenge>,
}

#[derive(Debug)]
struct Challenge {
    realm: String,
    resource_metadata: Option<String>,
    issuer: String,
}

impl Protection {
    /// Protects with `verifier`. `realm` names the service in challenges (RFC 9110 §11.5), and must
    /// be free of quotes and backslashes; `resource_metadata` is the address of the RFC 9728
    /// document, where there is one.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>, realm: &str, resource_metadata: Option<String>) -> Self {
        let challenge = Challenge {
            realm: realm.to_owned(),
            resource_metadata,
            issuer: verifier.expectations().issuer.clone(),
        };
        Self { verifier, challenge: Arc::new(challenge) }
    }

    /// The verifier.
    #[must_use]
    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// Why a request without an acceptable token is denied, as this service says it.
    #[must_use]
    pub fn deny(&self, why: Denial) -> Denied {
        Denied { why, challenge: Arc::clone(&self.challenge) }
    }

    /// Verifies what a request carries in its `Authorization` header. A token anywhere else, the
    /// query above all, is not looked at (RFC 6750 §2, OAuth 2.1 §5.1).
    pub fn authenticate(&self, request: &HttpRequest) -> Result<Arc<Verified>, Denial> {
        let token = str::from_utf8(bearer_token(request)?)
            .map_err(|_| Denial::Rejected(Rejection::Characters))?;
        self.verifier.verify(token).map_err(Denial::Rejected)
    }
}

/// The bearer token of a request, not yet verified. Everything that reads an `Authorization` header
/// reads it here.
///
/// The grammar is that of RFC 6750 §2.1 and RFC 9110 §11.1: the scheme in any case, then one or more
/// spaces, then the token. A token that is missing after the scheme is an empty one.
///
/// # Errors
/// [`Denial::NoCredential`] without the header or with another scheme, [`Denial::TwoCredentials`]
/// when the header was sent twice.
pub fn bearer_token(request: &HttpRequest) -> Result<&[u8], Denial> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next().ok_or(Denial::NoCredential)?.as_bytes();
    if headers.next().is_some() {
        return Err(Denial::TwoCredentials);
    }
    let end = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    let (scheme, rest) = header.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Denial::NoCredential);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Ok(&rest[spaces..])
}

/// A verified bearer token.
#[derive(Debug, Clone)]
pub struct Bearer {
    verified: Arc<Verified>,
    protection: web::Data<Protection>,
}

impl Bearer {
    /// What was verified.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Goes on only where the token allows what `scope` names.
    pub fn require_scope(&self, scope: &'static str) -> Result<(), Denied> {
        if self.verified.has_scope(scope) {
            Ok(())
        } else {
            Err(self.protection.deny(Denial::InsufficientScope(scope)))
        }
    }

    /// Goes on only where the person logged in at most `max_age` ago (RFC 9470).
    pub fn require_recent_login(&self, max_age: Duration) -> Result<(), Denied> {
        let now = self.protection.verifier.now().unix_seconds();
        let recent = |auth_time: u64| now.saturating_sub(auth_time) <= max_age.as_secs();
        if self.verified.claims().auth_time.is_some_and(recent) {
            Ok(())
        } else {
            Err(self.protection.deny(Denial::LoginTooOld(max_age)))
        }
    }

    /// Seconds until the token ends.
    #[must_use]
    pub fn expires_in(&self) -> u64 {
        let now = self.protection.verifier.now().unix_seconds();
        self.verified.claims().exp.saturating_sub(now)
    }
}

impl FromRequest for Bearer {
    type Error = Denied;
    type Future = Ready<Result<Self, Denied>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let protection = request
            .app_data::<web::Data<Protection>>()
            .expect("an app that extracts Bearer has web::Data<Protection>")
            .clone();
        ready(match protection.authenticate(request) {
            Ok(verified) => Ok(Self { verified, protection }),
            Err(why) => Err(protection.deny(why)),
        })
    }
}

/// Why a request may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// It carries no bearer token.
    NoCredential,
    /// It carries two.
    TwoCredentials,
    /// It carries one that is not accepted.
    Rejected(Rejection),
    /// The token lacks this scope.
    InsufficientScope(&'static str),
    /// The login is longer ago than this.
    LoginTooOld(Duration),
}

impl Denial {
    /// The problem code that answers it. One code for every reason a token is bad: which one is no
    /// business of whoever sent it.
    #[must_use]
    pub const fn code(&self) -> ProblemCode {
        match self {
            Self::NoCredential => ProblemCode::Unauthenticated,
            Self::TwoCredentials => ProblemCode::InvalidRequest,
            Self::Rejected(Rejection::Stale) => ProblemCode::RevocationStale,
            Self::Rejected(Rejection::NoKeys) => ProblemCode::Unavailable,
            Self::Rejected(_) => ProblemCode::InvalidToken,
            Self::InsufficientScope(_) => ProblemCode::Forbidden,
            Self::LoginTooOld(_) => ProblemCode::ReauthenticationRequired,
        }
    }

    const fn detail(&self) -> &'static str {
        match self {
            Self::NoCredential => "Send an access token in the Authorization header.",
            Self::TwoCredentials => "Send one Authorization header, not two.",
            Self::Rejected(Rejection::Stale) => {
                "Whether the token was revoked cannot be known at the moment; try again shortly."
            }
            Self::Rejected(Rejection::NoKeys) => {
                "The service has not loaded its keys yet; try again shortly."
            }
            Self::Rejected(_) => "The access token is not valid here; get a new one.",
            Self::InsufficientScope(_) => "The access token lacks the scope this needs.",
            Self::LoginTooOld(_) => "Log in again to do this.",
        }
    }
}

/// A [`Denial`] with what its answer needs: the challenge of RFC 6750 §3 and a problem document.
#[derive(Debug, Clone)]
pub struct Denied {
    why: Denial,
    challenge: Arc<Challenge>,
}

impl Denied {
    /// The reason.
    #[must_use]
    pub fn why(&self) -> Denial {
        self.why
    }

    /// The `WWW-Authenticate` value. Only text of our own goes into it, never the token's.
    fn www_authenticate(&self) -> String {
        let mut value = format!("Bearer realm=\"{}\"", self.challenge.realm);
        let mut attribute = |name: &str, text: &str| {
            value.extend([", ", name, "=\"", text, "\""]);
        };
        if let Some(url) = &self.challenge.resource_metadata {
            attribute("resource_metadata", url);
        }
        match self.why {
            Denial::NoCredential => {}
            Denial::TwoCredentials => attribute("error", "invalid_request"),
            Denial::Rejected(_) => {
                attribute("error", "invalid_token");
                attribute("error_description", "The access token is not valid");
            }
            Denial::InsufficientScope(scope) => {
                attribute("error", "insufficient_scope");
                attribute("scope", scope);
            }
            Denial::LoginTooOld(max_age) => {
                attribute("error", "insufficient_user_authentication");
                attribute("error_description", "A more recent login is needed");
                attribute("max_age", &max_age.as_secs().to_string());
            }
        }
        value
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.detail())
    }
}

impl ResponseError for Denied {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.why.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let code = self.why.code();
        let mut problem = Problem::new(code, self.why.detail());
        problem.kind = format!("{}{}", self.challenge.issuer, problem.kind);
        let mut response = problem_response(problem);
        if code.status() == 503 {
            set(&mut response, RETRY_AFTER, "1");
        } else {
            set(&mut response, WWW_AUTHENTICATE, &self.www_authenticate());
        }
        response
    }
}

/// A problem as an answer. The problem also stays in the response's extensions, so that a
/// middleware may complete it with what only it knows, such as the request id.
#[must_use]
pub fn problem_response(problem: Problem) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "application/problem+json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body);
    response.extensions_mut().insert(problem);
    response
}

fn set(response: &mut HttpResponse, name: actix_web::http::header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
}
