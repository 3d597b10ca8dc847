//! What a client of a protected service is told (RFC 6750 §3, RFC 9470), and what it is not.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, HttpServer, get, rt, web};
use common::{ISSUER, Mint, SESSION, SUBJECT, Service, claims_at, header, token_of, with, without};
use latchkey_claims::{Algorithm, Revoked};
use latchkey_verifier::{Bearer, Challenge, Clock, Protection, Verifier};
use serde_json::{Value, json};

const METADATA: &str = "https://api.example.com/.well-known/oauth-protected-resource";
const CHALLENGE: &str = r#"Bearer realm="orders", resource_metadata="https://api.example.com/.well-known/oauth-protected-resource""#;
const INVALID_TOKEN: &str =
    r#", error="invalid_token", error_description="The access token is not valid""#;
const MAX_AGE: Duration = Duration::from_mins(5);

#[get("/orders")]
async fn orders(bearer: Bearer) -> Result<String, Challenge> {
    bearer.require_scope("orders:read")?;
    Ok(bearer.verified().claims().sub.to_string())
}

#[get("/password")]
async fn password(bearer: Bearer) -> Result<String, Challenge> {
    bearer.require_recent_login(MAX_AGE)?;
    Ok(bearer.expires_in().to_string())
}

#[actix_web::test]
async fn a_good_token_opens_the_door() {
    let service = Service::new();
    for algorithm in common::ALGORITHMS {
        let answer =
            ask(&service, "/orders", &format!("Bearer {}", service.token(algorithm))).await;
        assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, SUBJECT.as_bytes()));
        assert_eq!(answer.challenge(), None);
    }
}

/// B-01: RFC 6750 §2.1 has one or more spaces after the scheme, RFC 9110 §11.1 the scheme in any case.
#[actix_web::test]
async fn the_scheme_may_be_in_any_case_and_more_than_one_space_may_follow() {
    let service = Service::new();
    let token = service.token(Algorithm::Es256);
    for scheme in ["Bearer ", "bEaReR ", "bearer ", "BEARER ", "Bearer  ", "bearer     "] {
        let credential = format!("{scheme}{token}");
        assert_eq!(ask(&service, "/orders", &credential).await.status, StatusCode::OK, "{scheme}");
    }
    for other in ["Bearer\t", "Bearer \t", "Bearer=", " Bearer "] {
        let answer = ask(&service, "/orders", &format!("{other}{token}")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{other}");
    }
}

/// B-02
#[actix_web::test]
async fn a_request_without_a_token_is_challenged_without_an_error() {
    let service = Service::new();
    let token = service.token(Algorithm::Es256);
    let none = request(&service, TestRequest::get().uri("/orders")).await;
    let mut answers = vec![none];
    for other in ["Basic dTpw", &format!("DPoP {token}"), &format!("Bearer{token}"), &token, ""] {
        answers.push(ask(&service, "/orders", other).await);
    }
    for answer in answers {
        answer.is_problem(401, "unauthenticated");
        assert_eq!(answer.challenge(), Some(CHALLENGE));
    }
}

#[actix_web::test]
async fn a_service_without_metadata_names_none() {
    let service = Service::new();
    let protection = Protection::new(Arc::clone(&service.verifier), "orders", None);
    let answer = request_of(protection, TestRequest::get().uri("/orders")).await;
    assert_eq!(answer.challenge(), Some(r#"Bearer realm="orders""#));
}

/// B-03: the reason is nobody's business.
#[actix_web::test]
async fn every_bad_token_gets_the_same_answer() {
    let service = Service::new();
    let algorithm = Algorithm::EdDsa;
    let good = service.claims();
    let foreign = Mint::foreign();
    let ended = with(&good, "sid", "AAAAAAAAAAAAAAAAAAAAAA");
    service.learns([Revoked::Session { id: "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap() }]);
    for hostile in [
        token_of(algorithm, &claims_at(service.now() - 700)),
        token_of(algorithm, &ended),
        token_of(algorithm, &with(&good, "aud", "x")),
        token_of(algorithm, &with(&good, "cnf", json!({"jkt": "x"}))),
        foreign.token(algorithm, &header(algorithm).to_string(), good.to_string()),
        Mint::real().token(
            algorithm,
            &with(&header(algorithm), "kid", "other").to_string(),
            good.to_string(),
        ),
        "garbage".to_owned(),
        "rt1.AAAAAAAAAAAAAAAAAAAAAA.7.AAAA".to_owned(),
        format!("{0} {0}", service.token(algorithm)),
        format!("{0},{0}", service.token(algorithm)),
        "x".repeat(20_000),
        String::new(),
    ] {
        let answer = ask(&service, "/orders", &format!("Bearer {hostile}")).await;
        answer.is_problem(401, "invalid-token");
        assert_eq!(answer.challenge(), Some(&*format!("{CHALLENGE}{INVALID_TOKEN}")));
        assert_eq!(answer.json()["detail"], "The access token is not valid here; get a new one.");
    }
}

/// B-04
#[actix_web::test]
async fn two_credentials_are_an_invalid_request() {
    let service = Service::new();
    let good = format!("Bearer {}", service.token(Algorithm::Es256));
    for other in [&*good, "Basic dTpw", "Bearer garbage", ""] {
        for pair in [[&*good, other], [other, &*good]] {
            let both = pair.into_iter().fold(TestRequest::get().uri("/orders"), |both, one| {
                both.append_header((AUTHORIZATION, one))
            });
            let answer = request(&service, both).await;
            answer.is_problem(400, "invalid-request");
            let challenge = format!(r#"{CHALLENGE}, error="invalid_request""#);
            assert_eq!(answer.challenge(), Some(&*challenge));
        }
    }
}

/// B-05
#[actix_web::test]
async fn a_token_anywhere_but_in_the_header_is_not_looked_at() {
    let service = Service::new();
    let token = service.token(Algorithm::Es256);
    let query = format!("/orders?access_token={token}");
    for elsewhere in [
        TestRequest::get().uri(&query),
        TestRequest::get()
            .uri("/orders")
            .insert_header(("content-type", "application/x-www-form-urlencoded"))
            .set_payload(format!("access_token={token}")),
        TestRequest::get()
            .uri("/orders")
            .insert_header(("cookie", format!("access_token={token}"))),
        TestRequest::get().uri("/orders").insert_header(("x-access-token", token.clone())),
        TestRequest::get()
            .uri("/orders")
            .insert_header(("proxy-authorization", format!("Bearer {token}"))),
    ] {
        let answer = request(&service, elsewhere).await;
        answer.is_problem(401, "unauthenticated");
        assert_eq!(answer.challenge(), Some(CHALLENGE));
    }
    // Beside one in the header it changes nothing, good or bad.
    for beside in [query.as_str(), "/orders?access_token=garbage"] {
        let answer = ask(&service, beside, &format!("Bearer {token}")).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

/// B-06, N-C12
#[actix_web::test]
async fn a_token_without_the_scope_is_told_which() {
    let service = Service::new();
    let good = service.claims();
    for claims in [
        without(&good, "scope"),
        with(&good, "scope", "profile"),
        with(&good, "scope", "orders:readwrite"),
    ] {
        let credential = format!("Bearer {}", token_of(Algorithm::EdDsa, &claims));
        let answer = ask(&service, "/orders", &credential).await;
        answer.is_problem(403, "forbidden");
        let challenge = format!(r#"{CHALLENGE}, error="insufficient_scope", scope="orders:read""#);
        assert_eq!(answer.challenge(), Some(&*challenge));
    }
}

/// B-07
#[actix_web::test]
async fn a_login_too_long_ago_is_told_how_recent_it_must_be() {
    let service = Service::new();
    let good = service.claims();
    let credential = |claims: &Value| format!("Bearer {}", token_of(Algorithm::EdDsa, claims));
    assert_eq!(ask(&service, "/password", &credential(&good)).await.status, StatusCode::OK);
    for claims in [
        with(&good, "auth_time", service.now() - MAX_AGE.as_secs() - 1),
        with(&good, "auth_time", 0),
        without(&good, "auth_time"),
    ] {
        let answer = ask(&service, "/password", &credential(&claims)).await;
        answer.is_problem(401, "reauthentication-required");
        let challenge = format!(
            "{CHALLENGE}, error=\"insufficient_user_authentication\", \
             error_description=\"A more recent login is needed\", max_age=\"300\""
        );
        assert_eq!(answer.challenge(), Some(&*challenge));
    }
}

/// B-09
#[actix_web::test]
async fn nothing_of_a_token_comes_back() {
    const MARK: &str = "5pRk";
    let service = Service::new();
    let algorithm = Algorithm::EdDsa;
    let marked_kid = with(&header(algorithm), "kid", MARK).to_string();
    let quoted_kid = with(&header(algorithm), "kid", format!("{MARK}\"\r\nx: y")).to_string();
    let claims = service.claims();
    for credential in [
        format!("Bearer {MARK}"),
        format!("Bearer {MARK}\", error=\"none"),
        format!("Bearer {MARK}\\\"\t{MARK}"),
        format!("Bearer {MARK}.{MARK}.{MARK}"),
        format!("{MARK} {MARK}"),
        format!("Bearer {}", Mint::real().token(algorithm, &marked_kid, claims.to_string())),
        format!("Bearer {}", Mint::real().token(algorithm, &quoted_kid, claims.to_string())),
        format!("Bearer {}", token_of(algorithm, &with(&claims, "iss", format!("{MARK}\"")))),
        format!("Bearer {}", token_of(algorithm, &with(&claims, "scope", MARK))),
        format!("Bearer {MARK}\u{e9}\u{202e}"),
    ] {
        let value = HeaderValue::from_bytes(credential.as_bytes()).unwrap();
        let marked = TestRequest::get().uri("/orders").append_header((AUTHORIZATION, value));
        let answer = request(&service, marked).await;
        assert!(answer.status.is_client_error());
        let headers = format!("{:?}", answer.headers);
        assert!(!headers.contains(MARK), "{headers}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(MARK));
        let challenge = answer.challenge().unwrap();
        assert!(challenge.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{challenge}");
    }
}

#[actix_web::test]
async fn stale_knowledge_is_the_services_fault_and_a_bad_token_is_not() {
    let service = Service::ignorant(Duration::from_secs(30), Clock::default());
    service.trusts(&Mint::real().jwks());
    let good = format!("Bearer {}", service.token(Algorithm::Es256));
    let answer = ask(&service, "/orders", &good).await;
    answer.is_problem(503, "revocation-stale");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.challenge(), None);

    let expired = token_of(Algorithm::Es256, &claims_at(service.now() - 700));
    for bad in ["garbage", &*expired] {
        let answer = ask(&service, "/orders", &format!("Bearer {bad}")).await;
        answer.is_problem(401, "invalid-token");
    }
    service.learns([Revoked::Session { id: SESSION.parse().unwrap() }]);
    ask(&service, "/orders", &good).await.is_problem(401, "invalid-token");
}

#[actix_web::test]
async fn a_service_without_keys_is_unavailable() {
    let service = Service::ignorant(Duration::from_secs(30), Clock::default());
    service.is_fresh();
    let good = format!("Bearer {}", service.token(Algorithm::Es256));
    let answer = ask(&service, "/orders", &good).await;
    answer.is_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.challenge(), None);
    ask(&service, "/orders", "Bearer garbage").await.is_problem(401, "invalid-token");
}

/// N-J10: no server reads on for ever.
#[actix_web::test]
async fn a_header_of_ten_megabytes_is_cut_off() {
    let service = Service::new();
    let verifier = Arc::clone(&service.verifier);
    let server = HttpServer::new(move || {
        let protection = web::Data::new(protection(&verifier));
        App::new().app_data(protection).service(orders)
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    rt::spawn(server);

    let exchange = move |token: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let request = format!(
            "GET /orders HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        let sent = stream.write_all(request.as_bytes()).is_ok();
        let mut answer = Vec::new();
        // A reset stands for an answer: the server had closed before all was sent.
        let read = stream.read_to_end(&mut answer);
        (sent && read.is_ok(), String::from_utf8_lossy(&answer).into_owned())
    };
    let good = service.token(Algorithm::Es256);
    let (cut_off, afterwards) = web::block(move || {
        let cut_off = exchange(&"x".repeat(10 * 1024 * 1024));
        (cut_off, exchange(&good))
    })
    .await
    .unwrap();
    handle.stop(false).await;

    let (whole, answer) = cut_off;
    let refused = ["HTTP/1.1 400 ", "HTTP/1.1 431 "].iter().any(|line| answer.starts_with(line));
    assert!(refused || (!whole && answer.is_empty()), "{answer}");
    assert!(afterwards.1.starts_with("HTTP/1.1 200 "), "{}", afterwards.1);
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name);
        let first = all.next()?;
        assert_eq!(all.next(), None, "one {name} and no more");
        Some(first.to_str().unwrap())
    }

    fn challenge(&self) -> Option<&str> {
        self.header("www-authenticate")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], format!("{ISSUER}/problems/{code}"));
    }
}

fn protection(verifier: &Arc<Verifier>) -> Protection {
    Protection::new(Arc::clone(verifier), "orders", Some(METADATA))
}

async fn ask(service: &Service, path: &str, credential: &str) -> Answer {
    let request_line = TestRequest::get().uri(path);
    request(service, request_line.append_header((AUTHORIZATION, credential))).await
}

async fn request(service: &Service, request: TestRequest) -> Answer {
    request_of(protection(&service.verifier), request).await
}

async fn request_of(protection: Protection, request: TestRequest) -> Answer {
    let protection = web::Data::new(protection);
    let app = App::new().app_data(protection).service(orders).service(password);
    let app = init_service(app).await;
    let response = call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body()).await.ok().unwrap().to_vec();
    Answer { status, headers, body }
}
