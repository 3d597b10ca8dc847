//! `GET /me`, `PATCH /me` and `DELETE /me`

use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use hosting::BadBody;
use hosting::body::{self, Media};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::sessions::caller;
use crate::error::Error;
use crate::http::edge::bearer::Bearer;
use crate::http::edge::requester;
use crate::policy::app::App;
use crate::policy::authentication::require_recent_login;
use crate::policy::names::{self, Wish};
use crate::policy::{accounts, deletion};
use crate::store::{UserRecord, UserView};

/// Which patches the route takes (RFC 5789 §3.1).
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const PATCHES: &str = "application/merge-patch+json, application/json";

/// What `GET /me` and `PATCH /me` answer.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// The account.
    #[serde(flatten)]
    pub user: UserView,
    /// As in the user's tokens.
    pub roles: Vec<String>,
}

/// What `PATCH /me` takes. A member that is left out stays as it is, and `null` takes it away.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MePatch {
    /// As at a registration.
    #[serde(default, deserialize_with = "wish")]
    #[schema(value_type = Option<String>, min_length = 1)]
    username: Wish,
    /// As at a registration. Nobody has proved that a changed address is theirs.
    #[serde(default, deserialize_with = "wish")]
    #[schema(value_type = Option<String>)]
    email: Wish,
}

/// Only for a member that is there.
pub(in crate::http) fn wish<'de, D: Deserializer<'de>>(member: D) -> Result<Wish, D::Error> {
    Ok(Option::deserialize(member)?.map_or(Wish::Remove, Wish::Be))
}

pub(crate) async fn me(app: web::Data<App>, bearer: Bearer) -> Result<HttpResponse, Error> {
    Ok(answer(accounts::user(&app, caller(&bearer)?).await?))
}

pub(crate) async fn change(
    app: web::Data<App>,
    bearer: Bearer,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let (caller, subject) = (caller(&bearer)?, &bearer.0.verified().claims().sub);
    let user = subject.user_id().ok_or(Error::Forbidden)?;
    require_recent_login(&bearer.0)?;
    let patch = match patch(&request, payload).await {
        Ok(patch) => patch,
        Err(error) => {
            let mut response = error.error_response();
            if matches!(error, BadBody::Media | BadBody::Charset) {
                let patches = HeaderValue::from_static(PATCHES);
                response.headers_mut().insert(ACCEPT_PATCH, patches);
            }
            return Ok(response);
        }
    };
    let (from, wishes) = (requester::of(&app, &request), (patch.username, patch.email));
    Ok(answer(names::change_own(&app, (caller, user), &from, wishes).await?))
}

pub(crate) async fn delete(app: web::Data<App>, bearer: Bearer) -> Result<HttpResponse, Error> {
    let caller = caller(&bearer)?;
    require_recent_login(&bearer.0)?;
    deletion::delete_own(&app, caller).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A merge patch (RFC 7396), which may come as plain JSON too.
async fn patch(request: &HttpRequest, payload: web::Payload) -> Result<MePatch, BadBody> {
    let bytes = body::read(request, payload.into_inner()).await?;
    match body::media(request)? {
        Media::Json | Media::MergePatch => body::json(&bytes),
        Media::Form | Media::Unsaid => Err(BadBody::Media),
    }
}

fn answer(user: UserRecord) -> HttpResponse {
    let answer = Me { roles: user.roles.clone(), user: user.into() };
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer)
}
