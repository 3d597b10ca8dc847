//! An administrator, who may do what the route needs: the first thing that is asked, before the body is read.

use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use hosting::BadBody;
use hosting::body::{self, Media};
use serde::de::DeserializeOwned;
use verifier::Protection;

use super::bearer::Bearer;
use super::requester;
use crate::error::Error;
use crate::identity::admin_scopes;
use crate::policy::administrators::{self, Administrator};
use crate::policy::app::App;
use crate::store::Once;

/// Not an HTTP header that the library knows.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const LONGEST_KEY: usize = 128;

/// What a route needs.
pub(crate) trait Needs: 'static {
    const SCOPE: &'static str;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident $scope:ident),*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl Needs for $name {
            const SCOPE: &'static str = admin_scopes::$scope;
        }
    )*};
}

needs! {
    /// To look at accounts.
    UsersRead USERS_READ,
    /// To make, change and delete them.
    UsersWrite USERS_WRITE,
    /// To end their sessions.
    SessionsEnd SESSIONS_END,
    /// To look at keys and to change them.
    Keys KEYS,
    /// To read the audit log.
    AuditRead AUDIT_READ
}

/// An administrator who may do what `S` names. Every route of theirs has one among its arguments, and so says what it
/// needs.
pub(crate) struct Admin<S> {
    pub(crate) who: Administrator,
    _needed: PhantomData<S>,
}

impl<S: Needs> FromRequest for Admin<S> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bearer = Bearer::from_request(request, payload).into_inner();
        let request = request.clone();
        Box::pin(async move {
            let app = data::<App>(&request)?;
            if !requester::is_protected(&app, &request) {
                return Err(Error::Unprotected);
            }
            let protection = data::<Protection>(&request)?;
            let who = administrators::admit(&app, &protection, &bearer?.0, S::SCOPE).await?;
            Ok(Self { who, _needed: PhantomData })
        })
    }
}

/// The same with a JSON body, which is read for nobody else.
pub(crate) struct AdminJson<S, T> {
    pub(crate) who: Administrator,
    pub(crate) fields: T,
    /// Where the request is to be done once.
    pub(crate) once: Option<Once>,
    _needed: PhantomData<S>,
}

impl<S: Needs, T: DeserializeOwned + 'static> FromRequest for AdminJson<S, T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let admin = Admin::<S>::from_request(request, payload);
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let who = admin.await?.who;
            let (media, bytes) = (body::media(&request), body::read(&request, payload).await?);
            match media? {
                Media::Json => {}
                Media::MergePatch if request.method() == Method::PATCH => {}
                _ => return Err(BadBody::Media.into()),
            }
            let fields = body::json(&bytes)?;
            let key = idempotency_key(&request)?;
            let app = data::<App>(&request)?;
            let once = who.once(&app, key, &[request.path().as_bytes(), &bytes]);
            Ok(Self { who, fields, once, _needed: PhantomData })
        })
    }
}

/// Every listener that has these routes has it.
fn data<T: 'static>(request: &HttpRequest) -> Result<web::Data<T>, Error> {
    request.app_data::<web::Data<T>>().cloned().ok_or(Error::NotReady)
}

/// The key of a request that is to be done once, a string of RFC 8941 as the draft has it, or without the quotes.
fn idempotency_key(request: &HttpRequest) -> Result<Option<&str>, Error> {
    let invalid = || {
        Error::InvalidRequest(format!(
            "Idempotency-Key is one string of 1 to {LONGEST_KEY} visible ASCII characters in quotes."
        ))
    };
    let mut given = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(invalid());
    }
    let text = value.to_str().map_err(|_| invalid())?;
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let good = (1..=LONGEST_KEY).contains(&bare.len())
        && bare.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b','));
    if good { Ok(Some(bare)) } else { Err(invalid()) }
}
