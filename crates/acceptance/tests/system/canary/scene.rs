//! What is said to the services, what they say, and every secret in it.

use super::canaries::{Canaries, Place};
use super::dump::ADDRESS;
use claims::{RefreshTokenShape, refresh_token};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testbed::{Answer, Tokens};

use super::site::Site;

pub(crate) struct Scene {
    pub(crate) auth: String,
    pub(crate) internal: String,
    pub(crate) resource: String,
    pub(crate) http: reqwest::Client,
    pub(crate) canaries: Canaries,
    pub(crate) places: Vec<Place>,
    /// What was answered otherwise than was meant.
    pub(crate) unexpected: Vec<String>,
}

impl Scene {
    pub(crate) fn new(site: &Site) -> Self {
        Self {
            auth: site.auth.clone(),
            internal: site.internal.clone(),
            resource: site.resource.clone(),
            http: reqwest::Client::new(),
            canaries: Canaries::default(),
            places: Vec::new(),
            unexpected: Vec::new(),
        }
    }

    /// A password that needs escaping wherever something is escaped. Its end is looked for too.
    pub(crate) fn password(&mut self, name: &str) -> String {
        let end = format!("{:016x}", fastrand::u64(..));
        let password = format!("pä\"ss 'w'örd +%41\\ {end}");
        self.canaries.text("password", name, &password);
        self.canaries.text("end of a password", name, &end);
        password
    }

    /// An address that is nobody's.
    pub(crate) fn address(&mut self, name: &str) -> String {
        let address = format!("{:016x}@example.com", fastrand::u64(..));
        self.canaries.text(ADDRESS, name, &address);
        address
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.auth))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Whatever it answers is searched.
    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Answer {
        let (answer, place) = sent(request).await;
        self.places.push(place);
        answer
    }

    /// One whose answer tells its own user's address.
    pub(crate) async fn send_about_user(&mut self, request: RequestBuilder) -> Answer {
        let (answer, place) = sent(request).await;
        self.places.push(place.allowing(ADDRESS));
        answer
    }

    /// One whose status tells whether it met what it was meant to meet.
    pub(crate) async fn refused(&mut self, status: u16, request: RequestBuilder) {
        let answer = self.send(request).await;
        if answer.status != status {
            let (seen, text) = (answer.status, &answer.text);
            self.unexpected.push(format!("{seen} instead of {status}: {text}"));
        }
    }

    /// One that gets tokens. They are looked for in everything else, and in the rest of this answer.
    pub(crate) async fn tokens(&mut self, name: &str, request: RequestBuilder) -> Tokens {
        let (answer, _) = sent(request).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        let mut rest = answer.json();
        let access = taken(&mut rest, "access_token").expect("an access token");
        let mut headers = answer.headers.clone();
        let refresh = taken(&mut rest, "refresh_token").unwrap_or_else(|| {
            let set = headers.remove("set-cookie").expect("a cookie");
            let set = set.to_str().expect("text").to_owned();
            let token = set.strip_prefix(&format!("{}=", refresh_token::COOKIE));
            token.expect("our cookie").split(';').next().expect("a value").to_owned()
        });
        self.places.push(Place::new(format!("an answer to {name}"), format!("{headers:?} {rest}")));
        self.access_token(name, &access);
        self.refresh_token(name, &refresh);
        let session = answer.member("session_id");
        Tokens { access, refresh, session, json: rest }
    }

    /// Looks for it from now on, and for the parts of it that are secret.
    pub(crate) fn refresh_token(&mut self, name: &str, token: &str) {
        RefreshTokenShape::parse(token).expect("a refresh token");
        let parts: Vec<_> = token.split('.').collect();
        self.canaries.text("refresh token", name, token);
        self.canaries.text("handle of a refresh token", name, parts[1]);
        self.canaries.text("tag of a refresh token", name, parts[3]);
    }

    pub(crate) fn access_token(&mut self, name: &str, token: &str) {
        self.canaries.text("access token", name, token);
        let (_, signature) = token.rsplit_once('.').expect("a JWT");
        self.canaries.text("signature of an access token", name, signature);
    }

    pub(crate) fn log_in(&self, name: &str, password: &str) -> RequestBuilder {
        self.post("/login").json(&json!({"username": name, "password": password}))
    }

    /// A request with a refresh cookie, as a program sends it.
    pub(crate) fn with_cookie(&self, path: &str, token: &str, body: &Value) -> RequestBuilder {
        let cookie = format!("{}={token}", refresh_token::COOKIE);
        self.post(path).header("cookie", cookie).header("x-latchkey", "1").json(body)
    }
}

async fn sent(request: RequestBuilder) -> (Answer, Place) {
    let answer = Answer::to(request).await;
    let text = format!("{} {:?} {}", answer.status, answer.headers, answer.text);
    (answer, Place::new("an answer", text))
}

fn taken(value: &mut Value, member: &str) -> Option<String> {
    let value = value.as_object_mut().expect("an object").remove(member)?;
    value.as_str().map(str::to_owned)
}
