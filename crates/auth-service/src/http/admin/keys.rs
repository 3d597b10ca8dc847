//! `/admin/v1/keys`: list, rotate, revoke. No secret of a key comes out of here.

use actix_web::{HttpResponse, web};
use claims::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{answer, created};
use crate::error::Error;
use crate::http::edge::administrator::{Admin, AdminJson, Keys};
use crate::policy::app::App;
use crate::policy::key_administration;
use crate::store::{KeyPurpose, KeyState, StoredKey};
use crate::tokens::rotation::Schedule;

/// A key.
#[derive(Serialize, ToSchema)]
pub struct AdminKey {
    /// Of a signing key the `kid`.
    #[schema(value_type = String)]
    pub id: KeyId,
    /// `sign` or `refresh`.
    pub purpose: &'static str,
    /// Of a signing key.
    #[schema(required)]
    pub algorithm: Option<&'static str>,
    /// `published`, `active`, `retiring`, `removed` or `revoked`.
    pub state: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// How long it is published before it takes over, in seconds; of one that is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub takes_over_after: Option<u32>,
    /// Until when tokens of a revoked refresh key still log their owners out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub logs_out_until: Option<Timestamp>,
}

impl AdminKey {
    fn new(app: &App, key: StoredKey) -> Self {
        let is_published = key.state == KeyState::Published;
        Self {
            logs_out_until: Schedule::new(&app.config).logs_out_until(&key),
            purpose: key.purpose.as_str(),
            algorithm: key.algorithm.map(claims::Algorithm::as_str),
            state: key.state.as_str(),
            since: key.since,
            takes_over_after: is_published.then_some(app.config.keys.publish_seconds),
            id: key.id,
        }
    }
}

/// All keys.
#[derive(Serialize, ToSchema)]
pub struct AdminKeys {
    /// The oldest first.
    pub keys: Vec<AdminKey>,
}

pub(crate) async fn list(app: web::Data<App>, _: Admin<Keys>) -> Result<HttpResponse, Error> {
    let found = app.store.keys().await?.keys;
    let keys = found.into_iter().map(|key| AdminKey::new(&app, key)).collect();
    Ok(answer(&AdminKeys { keys }))
}

/// What `POST /admin/v1/keys` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// Which of the two is to be replaced.
    purpose: RotatedPurpose,
    /// Let it take over at once. For emergencies: services that do not know it yet refuse its tokens until they
    /// have fetched it, for up to ten seconds.
    #[serde(default)]
    now: bool,
}

/// What a key is for.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RotatedPurpose {
    Sign,
    Refresh,
}

pub(crate) async fn rotate(
    app: web::Data<App>,
    admin: AdminJson<Keys, RotateRequest>,
) -> Result<HttpResponse, Error> {
    let AdminJson { who, fields, once, .. } = admin;
    let purpose = match fields.purpose {
        RotatedPurpose::Sign => KeyPurpose::Sign,
        RotatedPurpose::Refresh => KeyPurpose::Refresh,
    };
    let store = who.store(&app);
    let key = key_administration::rotate(&app.config, &store, purpose, fields.now, once).await?;
    Ok(created(&AdminKey::new(&app, key)))
}

pub(crate) async fn revoke(
    app: web::Data<App>,
    admin: Admin<Keys>,
    id: web::Path<String>,
) -> Result<HttpResponse, Error> {
    let id = id.parse().map_err(|_| Error::Missing("There is no such key."))?;
    key_administration::revoke(&app.config, &admin.who.store(&app), id).await?;
    Ok(HttpResponse::NoContent().finish())
}
