//! `/admin/v1/invitations`: list, make, revoke.

use actix_web::{HttpRequest, HttpResponse, web};
use claims::{Timestamp, UserId};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::query::{limit, parsed, query};
use super::{answer, created, users};
use crate::error::Error;
use crate::http::edge::administrator::{Admin, AdminJson, UsersRead, UsersWrite};
use crate::policy::administration;
use crate::policy::app::App;
use crate::store::{Invitation, InvitationId, InvitationState};

/// An invitation, without the token, which nobody can learn afterwards.
#[derive(Serialize, ToSchema)]
pub struct AdminInvitation {
    pub id: Uuid,
    /// Only whoever registers with this address can use it.
    #[schema(required)]
    pub email: Option<String>,
    /// `open`, `used`, `revoked` or `expired`.
    pub state: &'static str,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Who registered with it.
    #[schema(required)]
    pub user_id: Option<UserId>,
}

impl From<Invitation> for AdminInvitation {
    fn from(one: Invitation) -> Self {
        let user_id = match one.state {
            InvitationState::Used(user) => Some(user),
            _ => None,
        };
        Self {
            id: one.id.uuid(),
            email: one.email,
            state: one.state.as_str(),
            created_at: one.created_at,
            expires_at: one.expires_at,
            user_id,
        }
    }
}

/// A page of invitations.
#[derive(Serialize, ToSchema)]
pub struct AdminInvitations {
    /// In the order in which they were made.
    pub invitations: Vec<AdminInvitation>,
    /// What to send as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<Uuid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvitationsQuery {
    after: Option<String>,
    limit: Option<u32>,
}

pub(crate) async fn list(
    app: web::Data<App>,
    _: Admin<UsersRead>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    let asked: InvitationsQuery =
        query(&request, "it may have after (an id) and limit (1 to 500), each once")?;
    let most = limit(asked.limit)?;
    let after = parsed::<InvitationId>(asked.after, "after is the id of an invitation")?;
    let mut found = app.store.list_invitations(after, most + 1).await?;
    let next = users::next(&mut found, most, |one| one.id.uuid());
    let invitations = found.into_iter().map(AdminInvitation::from).collect();
    Ok(answer(&AdminInvitations { invitations, next }))
}

/// What `POST /admin/v1/invitations` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitationRequest {
    /// Only whoever registers with this address can use it; anybody if absent.
    email: Option<String>,
    /// For how many hours it is good, 1 to 720; 72 if absent.
    #[schema(minimum = 1, maximum = 720)]
    expires_hours: Option<u32>,
}

/// What `POST /admin/v1/invitations` answers.
#[derive(Serialize, ToSchema)]
pub struct NewAdminInvitation {
    #[serde(flatten)]
    pub invitation: AdminInvitation,
    /// What lets one person register. Null where the request was a repetition: it is shown once and kept nowhere.
    #[schema(required)]
    pub token: Option<String>,
    /// To the account page with the token; null where that is not served, or where there is no token.
    #[schema(required)]
    pub link: Option<String>,
}

pub(crate) async fn create(
    app: web::Data<App>,
    admin: AdminJson<UsersWrite, NewInvitationRequest>,
) -> Result<HttpResponse, Error> {
    let AdminJson { who, fields, once, .. } = admin;
    let hours = fields.expires_hours.unwrap_or(administration::USUAL_INVITATION_HOURS);
    let (store, mode) = (who.store(&app), app.config.registration_mode());
    let (invitation, token) =
        administration::invite(&store, mode, fields.email, hours, once).await?;
    let token = token.map(|token| token.expose_secret().to_owned());
    let link = token.as_ref().and_then(|token| administration::link(&app.config, token));
    Ok(created(&NewAdminInvitation { invitation: invitation.into(), token, link }))
}

pub(crate) async fn revoke(
    app: web::Data<App>,
    admin: Admin<UsersWrite>,
    id: web::Path<String>,
) -> Result<HttpResponse, Error> {
    // Not repeated: it may be the token.
    let missing = || Error::Missing("There is no such invitation that could still be used.");
    let id = id.parse().map_err(|_| missing())?;
    administration::revoke_invitation(&admin.who.store(&app), id).await?;
    Ok(HttpResponse::NoContent().finish())
}
