//! The same requests to a service on actix-web and to one on axum, over real connections: the answers
//! have the same status, headers and body.

mod common;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use common::{Mint, SUBJECT, Service, claims_at, header, token_of, with, without};
use latchkey_claims::{Algorithm, Revoked};
use latchkey_verifier::{Bearer, Challenge, Clock, Protection};
use serde_json::{Value, json};

const METADATA: &str = "https://api.example.com/.well-known/oauth-protected-resource";
const MAX_AGE: Duration = Duration::from_mins(5);

fn orders_of(bearer: &Bearer) -> Result<String, Challenge> {
    bearer.require_scope("orders:read")?;
    Ok(bearer.verified().claims().sub.to_string())
}

fn password_of(bearer: &Bearer) -> Result<String, Challenge> {
    bearer.require_recent_login(MAX_AGE)?;
    Ok("changed".to_owned())
}

mod on_actix {
    use actix_web::{App, HttpServer, get, web};

    use super::{Bearer, Challenge, Protection, SocketAddr, orders_of, password_of};

    #[get("/orders")]
    async fn orders(bearer: Bearer) -> Result<String, Challenge> {
        orders_of(&bearer)
    }

    #[get("/password")]
    async fn password(bearer: Bearer) -> Result<String, Challenge> {
        password_of(&bearer)
    }

    pub(super) fn start(protection: Protection) -> (SocketAddr, actix_web::dev::ServerHandle) {
        let protection = web::Data::new(protection);
        let app = move || App::new().app_data(protection.clone()).service(orders).service(password);
        let server = HttpServer::new(app).workers(1).disable_signals();
        let server = server.bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        (address, handle)
    }
}

mod on_axum {
    use std::sync::Arc;

    use axum::extract::FromRef;
    use axum::{Router, routing};

    use super::{Bearer, Challenge, Protection, SocketAddr, orders_of, password_of};

    /// A state with other things in it.
    #[derive(Clone)]
    struct State {
        protection: Arc<Protection>,
    }

    impl FromRef<State> for Arc<Protection> {
        fn from_ref(state: &State) -> Self {
            Arc::clone(&state.protection)
        }
    }

    async fn orders(bearer: Bearer) -> Result<String, Challenge> {
        orders_of(&bearer)
    }

    async fn password(bearer: Bearer) -> Result<String, Challenge> {
        password_of(&bearer)
    }

    pub(super) async fn start(protection: Protection) -> SocketAddr {
        let app = Router::new()
            .route("/orders", routing::get(orders))
            .route("/password", routing::get(password))
            .with_state(State { protection: Arc::new(protection) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        actix_web::rt::spawn(async move { axum::serve(listener, app).await });
        address
    }
}

/// What must be the same, whatever serves it.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    /// But for `date`, `connection` and `content-length`.
    headers: BTreeMap<String, String>,
    body: String,
}

fn ask(address: SocketAddr, path: &str, credentials: &[String]) -> Answer {
    let mut request =
        format!("GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n").into_bytes();
    for credential in credentials {
        request.extend(format!("Authorization: {credential}\r\n").into_bytes());
    }
    request.extend(b"\r\n");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name = name.to_lowercase();
        if !["date", "connection", "content-length"].contains(&name.as_str()) {
            assert_eq!(headers.insert(name.clone(), value.to_owned()), None, "{name} twice");
        }
    }
    Answer { status, headers, body: body.to_owned() }
}

/// A service that knows of a revoked session, one without keys, and one that knows nothing fresh.
fn services() -> [Service; 3] {
    let knowing = Service::new();
    knowing.learns([Revoked::Session { id: "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap() }]);
    let keyless = Service::ignorant(Duration::from_secs(30), Clock::default());
    keyless.is_fresh();
    let stale = Service::ignorant(Duration::from_secs(30), Clock::default());
    stale.trusts(&Mint::real().jwks());
    [knowing, keyless, stale]
}

/// A path, the `Authorization` headers, and the status that each service answers.
fn table(now: u64) -> Vec<(&'static str, Vec<String>, [u16; 3])> {
    let algorithm = Algorithm::EdDsa;
    let good = claims_at(now);
    let token = |claims: &Value| format!("Bearer {}", token_of(algorithm, claims));
    let foreign = Mint::foreign();
    let forged = foreign.token(algorithm, &header(algorithm).to_string(), good.to_string());
    let one = |credential: String| vec![credential];
    vec![
        ("/orders", one(token(&good)), [200, 503, 503]),
        ("/orders", one(token(&good).replace("Bearer ", "bEARER   ")), [200, 503, 503]),
        ("/password", one(token(&good)), [200, 503, 503]),
        ("/orders", vec![], [401; 3]),
        ("/orders", one("Basic dTpw".into()), [401; 3]),
        ("/orders", one("Bearer".into()), [401; 3]),
        ("/orders", one("Bearer garbage".into()), [401; 3]),
        ("/orders", one("Bearer caf\u{e9}".into()), [401; 3]),
        ("/orders", one(format!("Bearer {}", "x".repeat(9000))), [401; 3]),
        ("/orders", one(format!("Bearer {forged}")), [401, 503, 401]),
        ("/orders", one(token(&claims_at(now - 700))), [401, 503, 401]),
        ("/orders", one(token(&with(&good, "sid", "AAAAAAAAAAAAAAAAAAAAAA"))), [401, 503, 503]),
        ("/orders", one(token(&with(&good, "aud", "x"))), [401, 503, 401]),
        ("/orders", one(token(&with(&good, "cnf", json!({"jkt": "x"})))), [401, 503, 401]),
        ("/orders", one(token(&without(&good, "scope"))), [403, 503, 503]),
        ("/password", one(token(&with(&good, "auth_time", now - 301))), [401, 503, 503]),
        ("/orders", vec![token(&good), token(&good)], [400; 3]),
        ("/orders", vec![token(&good), "Basic dTpw".into()], [400; 3]),
    ]
}

#[actix_web::test]
async fn both_frameworks_give_the_same_answers() {
    for (n, service) in services().into_iter().enumerate() {
        let protection =
            || Protection::new(Arc::clone(&service.verifier), "orders", Some(METADATA));
        let (actix, handle) = on_actix::start(protection());
        let axum = on_axum::start(protection()).await;
        let table = table(service.now());
        actix_web::web::block(move || {
            for (path, credentials, statuses) in table {
                let what = format!("{path} {credentials:.60?} at service {n}");
                let answers = [actix, axum].map(|address| ask(address, path, &credentials));
                assert_eq!(answers[0], answers[1], "{what}");
                let [answer, _] = answers;
                assert_eq!(answer.status, statuses[n], "{what}: {answer:?}");
                let header = |name: &str| answer.headers.get(name).map(String::as_str);
                if answer.status == 200 {
                    assert!([SUBJECT, "changed"].contains(&answer.body.as_str()));
                    continue;
                }
                assert_eq!(header("content-type"), Some("application/problem+json"), "{what}");
                assert_eq!(header("cache-control"), Some("no-store"), "{what}");
                assert_eq!(header("retry-after").is_some(), answer.status == 503, "{what}");
                assert_eq!(header("www-authenticate").is_some(), answer.status != 503, "{what}");
                let problem: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(problem["status"], answer.status, "{what}");
            }
        })
        .await
        .unwrap();
        handle.stop(false).await;
    }
}
