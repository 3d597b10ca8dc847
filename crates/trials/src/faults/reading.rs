//! Answers, as a careful client reads them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::{Transport, refresh_token};
use serde_json::Value;

use super::history::{AccessToken, Grant, Moment, Outcome, RefreshToken};
use testbed::Answer;

/// What a good answer holds.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    Nothing,
    /// Tokens, the refresh token by that way.
    Tokens(Transport),
    /// Who the token speaks for.
    Identity,
}

/// An answer, if there is one in time.
pub async fn answer(request: reqwest::RequestBuilder) -> Option<Answer> {
    Answer::try_to(request).await.ok()
}

/// What the answer says.
#[must_use]
pub fn outcome(answer: Option<Answer>, expected: Expected, begun: Moment) -> Outcome {
    let Some(answer) = answer else { return Outcome::Lost };
    let read = match (answer.status, expected) {
        (201 | 204, Expected::Nothing) => Some(Outcome::Done),
        (200, Expected::Tokens(transport)) => {
            tokens(&answer, transport, begun).map(|grant| Outcome::Granted(Box::new(grant)))
        }
        (200, Expected::Identity) => identity(&answer),
        // The server gave the connection up before a whole request had arrived, as it may on one that
        // was opened early and then lay idle (RFC 9110 §15.5.9): this is about no request.
        (408, _) => Some(Outcome::Lost),
        (400..=599, _) => problem(&answer),
        _ => None,
    };
    read.unwrap_or_else(|| Outcome::Odd(format!("{} {}", answer.status, answer.text)))
}

fn problem(answer: &Answer) -> Option<Outcome> {
    let problem: Value = serde_json::from_str(&answer.text).ok()?;
    let text = |name: &str| problem[name].as_str().map(str::to_owned);
    // Every answer has these.
    let complete = match answer.status {
        401 => answer.header("www-authenticate").is_some(),
        429 | 503 => answer.header("retry-after").is_some(),
        _ => true,
    };
    let (status, code) = (answer.status, text("code").filter(|_| complete)?);
    Some(Outcome::Refused { status, code, reason: text("reason") })
}

fn identity(answer: &Answer) -> Option<Outcome> {
    let body: Value = serde_json::from_str(&answer.text).ok()?;
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let (subject, username) = (text("sub")?, text("username")?);
    Some(Outcome::Accepted { subject, username, session: text("session_id")? })
}

fn tokens(answer: &Answer, transport: Transport, begun: Moment) -> Option<Grant> {
    let body: Value = serde_json::from_str(&answer.text).ok()?;
    let session = body["session_id"].as_str()?;
    let refresh = match transport {
        Transport::Body => body["refresh_token"].as_str()?,
        Transport::Cookie => {
            let cookie = answer.header("set-cookie")?.split_once(';')?.0;
            cookie.strip_prefix(refresh_token::COOKIE)?.strip_prefix('=')?
        }
    };
    let refresh = RefreshToken {
        text: refresh.into(),
        session: session.into(),
        generation: refresh.split('.').nth(2)?.parse().ok()?,
        transport,
    };
    let access = body["access_token"].as_str()?;
    let payload = URL_SAFE_NO_PAD.decode(access.split('.').nth(1)?).ok()?;
    let payload: Value = serde_json::from_slice(&payload).ok()?;
    let text = |name: &str| payload[name].as_str();
    let access = AccessToken {
        text: access.into(),
        session: text("sid")?.into(),
        subject: text("sub")?.into(),
        username: text("preferred_username")?.into(),
        good_until: begun + Duration::from_secs(body["expires_in"].as_u64()?),
    };
    Some(Grant { session: session.into(), refresh, access })
}
