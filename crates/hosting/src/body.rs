//! Request bodies, read strictly: bounded in size and time, one media type, nothing twice, nothing
//! unknown.

use std::fmt;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError};
use claims::strict_json;
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use problem::ProblemCode;
use serde::de::DeserializeOwned;

use crate::answers::problem;

/// No honest first-party request is larger.
pub const MAX_BYTES: usize = 16 * 1024;
/// No honest client needs longer to send that much.
const MAX_TIME: Duration = Duration::from_secs(10);

/// What a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Json,
    /// A JSON merge patch (RFC 7396).
    MergePatch,
    Form,
    /// No `Content-Type` at all.
    Unsaid,
}

/// Why a body was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadBody {
    /// Larger than [`MAX_BYTES`].
    TooLarge,
    /// Not sent within the time allowed.
    TooSlow,
    Incomplete,
    /// Of another media type, or encoded.
    Media,
    /// Said to be in a charset in which nothing is read here.
    Charset,
    /// Not what the route takes; the sentence says why.
    Content(String),
}

impl BadBody {
    /// The problem code that answers it.
    #[must_use]
    pub const fn code(&self) -> ProblemCode {
        match self {
            Self::TooLarge => ProblemCode::PayloadTooLarge,
            Self::TooSlow => ProblemCode::RequestTimeout,
            Self::Media | Self::Charset => ProblemCode::UnsupportedMediaType,
            Self::Incomplete | Self::Content(_) => ProblemCode::InvalidRequest,
        }
    }
}

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "The body is larger than {MAX_BYTES} bytes."),
            Self::TooSlow => f.write_str("The body did not arrive in time."),
            Self::Incomplete => f.write_str("The body broke off."),
            Self::Media => f.write_str("Send application/json, not encoded."),
            Self::Charset => f.write_str(
                "The Content-Type names a charset that is not read here; send UTF-8, and leave the charset out.",
            ),
            Self::Content(detail) => f.write_str(detail),
        }
    }
}

impl ResponseError for BadBody {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code().status()).unwrap_or(StatusCode::BAD_REQUEST)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = problem(self.code(), &self.to_string());
        if matches!(self, Self::TooLarge | Self::TooSlow | Self::Incomplete) {
            // What is left of the body must not be taken for the next request.
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        response
    }
}

/// A JSON body of type `T`. `T` should refuse unknown members.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = BadBody;
    type Future = LocalBoxFuture<'static, Result<Self, BadBody>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (media, whole) = (media(request), read(request, payload.take()));
        Box::pin(async move {
            let bytes = whole.await?;
            match media? {
                Media::Json => json(&bytes).map(Self),
                _ => Err(BadBody::Media),
            }
        })
    }
}

/// The media type of a request's body.
pub fn media(request: &HttpRequest) -> Result<Media, BadBody> {
    if request.headers().contains_key(CONTENT_ENCODING) {
        return Err(BadBody::Media);
    }
    let mut given = request.headers().get_all(CONTENT_TYPE);
    let Some(value) = given.next() else { return Ok(Media::Unsaid) };
    if given.next().is_some() {
        return Err(BadBody::Content("Send one Content-Type header, not two.".to_owned()));
    }
    let value = value.to_str().map_err(|_| BadBody::Media)?.to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let media = match parts.next() {
        Some("application/json") => Media::Json,
        Some("application/merge-patch+json") => Media::MergePatch,
        Some("application/x-www-form-urlencoded") => Media::Form,
        _ => return Err(BadBody::Media),
    };
    if parts.all(is_harmless) { Ok(media) } else { Err(BadBody::Charset) }
}

/// Whether a parameter of a media type changes nothing. No type that is read here defines one: JSON between systems is
/// UTF-8 whatever its charset is said to be (RFC 8259 §8.1, §11). So a charset that says the same, or less, is ignored,
/// and whoever names another has encoded the body otherwise than it is read.
fn is_harmless(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let same = ["utf-8", "utf8", "us-ascii", "ascii"];
    name.trim() != "charset" || same.contains(&value.trim().trim_matches('"'))
}

/// Reads a body to its end, within the bounds of size and time. One that is announced larger is
/// refused before it comes.
pub fn read(
    request: &HttpRequest,
    mut payload: Payload,
) -> impl Future<Output = Result<Vec<u8>, BadBody>> + use<> {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<usize> = length.and_then(|text| text.parse().ok());
    let whole = async move {
        if length.is_some_and(|length| length > MAX_BYTES) {
            return Err(BadBody::TooLarge);
        }
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| BadBody::Incomplete)?;
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(BadBody::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    async { tokio::time::timeout(MAX_TIME, whole).await.unwrap_or(Err(BadBody::TooSlow)) }
}

/// Reads a JSON object into `T`.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadBody> {
    strict_json::check_object(bytes)
        .map_err(|error| BadBody::Content(format!("The body is not acceptable: {error}.")))?;
    serde_json::from_slice(bytes).map_err(|error| BadBody::Content(explain(&error.to_string())))
}

/// A sentence about a member. What the client wrote into a member is not repeated: it may be a
/// password in the wrong place. Nor is a name that is none.
#[must_use]
pub fn explain(error: &str) -> String {
    let what = if let Some(name) = error.strip_prefix("missing field ") {
        format!("missing member {}", without_place(name))
    } else if let Some((name, expected)) =
        error.strip_prefix("unknown field ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '`');
        let name = if name.len() <= 40 && name.chars().all(plain) { name } else { "of odd name" };
        format!("unknown member {name}, expected {}", without_place(expected))
    } else {
        "a member has a value it cannot have".to_owned()
    };
    format!("The body is not acceptable: {what}.")
}

/// Without the line and column that follow in the parser's message.
fn without_place(text: &str) -> &str {
    text.split(" at line ").next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_wrong_value_is_not_repeated() {
        let error = json::<std::collections::HashMap<String, bool>>(br#"{"password":"hunter2"}"#);
        assert!(!error.unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn a_charset_counts_only_where_it_is_another() {
        let of = |kind: &str| {
            media(&TestRequest::default().insert_header((CONTENT_TYPE, kind)).to_http_request())
        };
        for (kind, expected) in [
            ("application/json", Media::Json),
            ("application/merge-patch+json", Media::MergePatch),
            ("application/x-www-form-urlencoded", Media::Form),
        ] {
            for harmless in [
                "",
                "; charset=utf-8",
                ";charset=UTF-8",
                "; charset=utf8",
                "; Charset=\"utf8\"",
                "; charset=us-ascii",
                "; charset=ASCII",
                "; version=1; charset=utf8; q",
                ";",
            ] {
                assert_eq!(of(&format!("{kind}{harmless}")), Ok(expected), "{kind}{harmless}");
            }
            for other in
                ["utf-16", "utf-16le", "\"utf-32\"", "iso-8859-1", "latin1", "utf-7", "", "x"]
            {
                let said = format!("{kind}; charset={other}");
                assert_eq!(of(&said), Err(BadBody::Charset), "{said}");
                let said = format!("{kind}; charset=utf-8; charset = {other}");
                assert_eq!(of(&said), Err(BadBody::Charset), "{said}");
            }
            assert_eq!(of(&format!("{kind}; charset")), Err(BadBody::Charset));
        }
        assert_eq!(of("text/plain; charset=utf-16"), Err(BadBody::Media));
    }

    #[test]
    fn an_odd_name_is_not_repeated() {
        let unknown =
            |name: &str| explain(&format!("unknown field `{name}`, expected `a` at line 1"));
        let expected = |name: &str| {
            format!("The body is not acceptable: unknown member {name}, expected `a`.")
        };
        assert_eq!(unknown("user_name"), expected("`user_name`"));
        for odd in ["a\nb", "a. b", ", expected `b`", " at line ", &"x".repeat(50)] {
            assert_eq!(unknown(odd), expected("of odd name"), "{odd}");
        }
    }
}
