//! Problem answers in an OpenAPI document: a status, and the codes that it may come with there.

use std::collections::BTreeMap;

use problem::{Problem, ProblemCode};
use serde_json::json;
use utoipa::PartialSchema as _;
use utoipa::openapi::content::Content;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::AllOfBuilder;
use utoipa::openapi::{ContentBuilder, Header, ObjectBuilder, Ref, RefOr, Type};

const MEDIA_TYPE: &str = "application/problem+json";

/// Of each status that these codes have, what is answered: the component of the code where there is
/// one, else all of them in one.
pub(super) fn responses(codes: &[ProblemCode]) -> BTreeMap<u16, RefOr<Response>> {
    let mut of_status = BTreeMap::<u16, Vec<ProblemCode>>::new();
    for code in ProblemCode::ALL.into_iter().filter(|code| codes.contains(code)) {
        of_status.entry(code.status()).or_default().push(code);
    }
    let answer = |codes: &[ProblemCode]| match codes {
        [code] => RefOr::Ref(Ref::from_response_name(code.as_str())),
        several => RefOr::T(response(several)),
    };
    of_status.into_iter().map(|(status, codes)| (status, answer(&codes))).collect()
}

/// A problem with one of these codes, which share a status.
pub(super) fn response(codes: &[ProblemCode]) -> Response {
    let one = |code: &ProblemCode| format!("`{}`: {}.", code.as_str(), code.title());
    let mut response = Response::new(codes.iter().map(one).collect::<Vec<_>>().join(" "));
    for (name, text) in codes.first().map_or(&[][..], |code| headers(*code)) {
        response.headers.insert((*name).to_owned(), header(text).into());
    }
    response.content.insert(MEDIA_TYPE.to_owned(), content(codes).into());
    response
}

fn content(codes: &[ProblemCode]) -> Content {
    let names = codes.iter().map(|code| code.as_str());
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    let narrowed = ObjectBuilder::new().property("code", code);
    let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(narrowed);
    let examples = codes.iter().map(|code| {
        let place = format!("#/components/examples/{}", code.as_str());
        (code.as_str(), RefOr::<Example>::Ref(Ref::new(place)))
    });
    ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build()
}

/// The headers that come with a code.
fn headers(code: ProblemCode) -> &'static [(&'static str, &'static str)] {
    const RETRY: (&str, &str) = ("Retry-After", "In how many seconds to try again.");
    match code.status() {
        401 => &[("WWW-Authenticate", "What is needed: a `Bearer` challenge (RFC 6750 §3).")],
        405 => &[("Allow", "The methods that the path has.")],
        429 => &[
            RETRY,
            ("RateLimit", "What is left of the limit, and when more will be."),
            ("RateLimit-Policy", "The limit."),
        ],
        503 => &[RETRY],
        _ => &[],
    }
}

/// An occurrence of it.
pub(super) fn example(issuer: &str, code: ProblemCode) -> Example {
    let mut problem = Problem::new(code, format!("{}.", code.title()));
    problem.kind = format!("{issuer}{}", problem.kind);
    problem.request_id = Some("3a624a47b2784337895ddeae2dbe3189".to_owned());
    match code {
        ProblemCode::SessionRevoked => problem.reason = Some("logout"),
        ProblemCode::PasswordPolicy => problem.violations = vec!["too_short", "common"],
        _ => {}
    }
    ExampleBuilder::new().value(Some(json!(problem))).build()
}

/// A header of text.
pub(super) fn header(text: &str) -> Header {
    HeaderBuilder::new().schema(Some(String::schema())).description(Some(text)).build()
}
