//! `GET /me/export`

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::{Stream, TryStreamExt as _, stream};
use hosting::causes;
use serde::Serialize;
use utoipa::ToSchema;

use super::sessions::caller;
use crate::error::Error;
use crate::http::edge::bearer::Bearer;
use crate::policy::app::App;
use crate::policy::export;
use crate::store::{ExportedEvent, ExportedInvitation, ExportedSession, ExportedUser, StoreError};

/// What `GET /me/export` answers.
#[derive(Serialize, ToSchema)]
pub struct Export {
    /// The account.
    pub user: ExportedUser,
    /// Invitations that they used, or that are bound to their address.
    pub invitations: Vec<ExportedInvitation>,
    /// Their sessions, those that are over too.
    pub sessions: Vec<ExportedSession>,
    /// What happened to the account; failed logins come last.
    pub events: Vec<ExportedEvent>,
}

/// It goes out as it is read from the database. Where that fails in the middle the answer breaks off, which a client
/// sees by the missing end of its chunks.
pub(crate) async fn export(
    app: web::Data<App>,
    bearer: Bearer,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    let parts = export::own(&app, caller(&bearer)?).await?;
    Ok(streamed(&request, parts))
}

/// The answer, as it is read from the database.
pub(in crate::http) fn streamed(
    request: &HttpRequest,
    parts: impl Stream<Item = Result<Vec<u8>, StoreError>> + 'static,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"account.json\""))
        .insert_header((CACHE_CONTROL, "no-store"));
    if request.method() == Method::HEAD {
        // Not empty: of a length that nobody knows beforehand.
        return response.streaming(stream::empty::<Result<web::Bytes, StoreError>>());
    }
    let parts = parts.map_ok(web::Bytes::from).inspect_err(|error| {
        tracing::warn!(error = causes(error), "an export was cut off");
    });
    response.streaming(parts)
}
