//! `GET /internal/keys`: the key set for followers that reach this service over plain http. It is the
//! public one, and its answer is proven as those of the feed are.

use actix_web::{HttpRequest, HttpResponse, web};
use claims::{JwkSet, jwk};
use serde::Deserialize;

use super::followers;
use crate::error::Error;
use crate::policy::app::App;

#[derive(Deserialize)]
struct Query {
    nonce: Option<String>,
}

pub(crate) async fn keys(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, Error> {
    followers::admit(&app, &request)?;
    let Ok(query) = web::Query::<Query>::from_query(request.query_string()) else {
        return Err(Error::InvalidRequest("nonce is text.".to_owned()));
    };
    let nonce = query.nonce.as_deref();
    followers::check_nonce(nonce)?;
    let set = JwkSet { keys: app.keyring.now().public.clone() };
    let body = serde_json::to_vec(&set).expect("keys are plain data");
    Ok(followers::answer(&app, nonce, "", jwk::MEDIA_TYPE, body))
}
