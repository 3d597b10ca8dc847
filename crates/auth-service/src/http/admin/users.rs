//! `/admin/v1/users`: list, make, show, change, delete, export.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use claims::{Timestamp, UserId};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::query::{limit, parsed, query};
use super::{answer, created};
use crate::error::Error;
use crate::http::account::export::streamed;
use crate::http::account::me::wish;
use crate::http::edge::administrator::{Admin, AdminJson, AuditRead, UsersRead, UsersWrite};
use crate::identity::admin_scopes;
use crate::policy::accounts::Registration;
use crate::policy::administration::{self, Change, NO_USER};
use crate::policy::app::App;
use crate::policy::export;
use crate::policy::find::{NotFound, find};
use crate::policy::names::Wish;
use crate::policy::roles::Roles;
use crate::store::{Listed, Requester};

/// A user, as administrators see them.
#[derive(Serialize, ToSchema)]
pub struct AdminUser {
    /// Also the `sub` of their tokens.
    pub id: UserId,
    #[schema(required)]
    pub username: Option<String>,
    #[schema(required)]
    pub email: Option<String>,
    pub roles: Vec<String>,
    /// Whether they may log in.
    pub enabled: bool,
    pub created_at: Timestamp,
}

impl From<Listed> for AdminUser {
    fn from(Listed { user, enabled }: Listed) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            roles: user.roles,
            enabled,
            created_at: user.created_at,
        }
    }
}

/// A page of users.
#[derive(Serialize, ToSchema)]
pub struct AdminUsers {
    /// In the order in which they registered.
    pub users: Vec<AdminUser>,
    /// What to send as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<UserId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersQuery {
    after: Option<String>,
    limit: Option<u32>,
    search: Option<String>,
    user: Option<String>,
}

pub(crate) async fn list(
    app: web::Data<App>,
    _: Admin<UsersRead>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    let asked: UsersQuery = query(
        &request,
        "it may have after (an id), limit (1 to 500) and search (how a name or an address begins), or \
         user (id:…, name:… or email:…), each once",
    )?;
    if let Some(text) = asked.user {
        let user = find(&app.store, &text).await?;
        let users = app.store.user(user).await?.into_iter().map(AdminUser::from).collect();
        return Ok(answer(&AdminUsers { users, next: None }));
    }
    let most = limit(asked.limit)?;
    let after = parsed::<Uuid>(asked.after, "after is the id of a user")?.map(UserId);
    // One more, to know whether there is a next page.
    let mut users = match asked.search {
        Some(text) => {
            let most = usize::try_from(most + 1).unwrap_or(usize::MAX);
            administration::search(&app.store, &text, after, most).await?
        }
        None => app.store.list_users(after, most + 1).await?,
    };
    let next = next(&mut users, most, |one| one.user.id);
    Ok(answer(&AdminUsers { users: users.into_iter().map(AdminUser::from).collect(), next }))
}

/// Takes away what was read beyond the page, and says where the next one begins.
pub(super) fn next<T, I>(found: &mut Vec<T>, most: i64, id: impl Fn(&T) -> I) -> Option<I> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let is_more = found.len() > most;
    found.truncate(most);
    found.last().filter(|_| is_more).map(id)
}

/// What `POST /admin/v1/users` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUserRequest {
    /// May be left out where there is an `email`.
    username: Option<String>,
    email: Option<String>,
    /// By the rules for all passwords.
    #[schema(value_type = String)]
    password: SecretString,
    /// None if absent.
    #[serde(default)]
    roles: Vec<String>,
}

/// What `POST /admin/v1/users` answers.
#[derive(Serialize, ToSchema)]
pub struct CreatedUser {
    /// The id of the account.
    pub id: UserId,
}

pub(crate) async fn create(
    app: web::Data<App>,
    admin: AdminJson<UsersWrite, CreateUserRequest>,
) -> Result<HttpResponse, Error> {
    let AdminJson { who, fields, once, .. } = admin;
    let CreateUserRequest { username, email, password, roles } = fields;
    who.may_give(&app.config, &roles)?;
    let roles = Roles::checked(&app.config, roles)?;
    let registration = Registration { username, email, password, requester: Requester::default() };
    let hashing = (&app.config.passwords, &app.passwords);
    let store = who.store(&app);
    let id = administration::create_user(&store, hashing, registration, roles, once).await?;
    let mut made = created(&CreatedUser { id });
    if let Ok(place) = format!("/admin/v1/users/{id}").parse() {
        made.headers_mut().insert(LOCATION, place);
    }
    Ok(made)
}

pub(crate) async fn show(
    app: web::Data<App>,
    _: Admin<UsersRead>,
    id: web::Path<String>,
) -> Result<HttpResponse, Error> {
    let found = app.store.user(user(&id)?).await?.ok_or(Error::Missing(NO_USER))?;
    Ok(answer(&AdminUser::from(found)))
}

/// What `PATCH /admin/v1/users/{id}` takes: what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUserRequest {
    /// `null` takes it away; there must be an `email` then.
    #[serde(default, deserialize_with = "wish")]
    #[schema(value_type = Option<String>, min_length = 1)]
    username: Wish,
    /// `null` takes it away; there must be a `username` then.
    #[serde(default, deserialize_with = "wish")]
    #[schema(value_type = Option<String>)]
    email: Wish,
    /// `false` ends every session; `true` brings none back.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    enabled: Option<bool>,
    /// These and no others; tokens have them from the next refresh on.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    roles: Option<Vec<String>>,
}

/// What is there has a value.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    member: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(member).map(Some)
}

pub(crate) async fn change(
    app: web::Data<App>,
    id: web::Path<String>,
    admin: AdminJson<UsersWrite, ChangeUserRequest>,
) -> Result<HttpResponse, Error> {
    let AdminJson { who, fields, .. } = admin;
    let ChangeUserRequest { username: name, email: address, enabled, roles } = fields;
    let id = user(&id)?;
    who.may_give(&app.config, roles.as_deref().unwrap_or_default())?;
    let roles = roles.map(|roles| Roles::checked(&app.config, roles)).transpose()?;
    let store = who.store_about(&app, id);
    let change = Change { name, address, enabled, roles };
    administration::change(&store, &app.config.page, id, change).await?;
    // A change that changes nothing would be a look at the account.
    if !who.may(admin_scopes::USERS_READ) {
        return Ok(HttpResponse::NoContent().finish());
    }
    let found = app.store.user(id).await?.ok_or(Error::Missing(NO_USER))?;
    Ok(answer(&AdminUser::from(found)))
}

pub(crate) async fn delete(
    app: web::Data<App>,
    id: web::Path<String>,
    admin: Admin<UsersWrite>,
) -> Result<HttpResponse, Error> {
    let id = user(&id)?;
    administration::delete_user(&admin.who.store_about(&app, id), id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// An export of somebody, with what the audit log tells of them.
pub(crate) async fn export(
    app: web::Data<App>,
    _: (Admin<UsersRead>, Admin<AuditRead>),
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    let parts = export::of(&app.store, user(&id)?).await?.ok_or(Error::Missing(NO_USER))?;
    Ok(streamed(&request, parts))
}

/// What `PUT /admin/v1/users/{id}/password` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPasswordRequest {
    /// By the rules for all passwords.
    #[schema(value_type = String)]
    password: SecretString,
}

pub(crate) async fn set_password(
    app: web::Data<App>,
    id: web::Path<String>,
    admin: AdminJson<UsersWrite, SetPasswordRequest>,
) -> Result<HttpResponse, Error> {
    let AdminJson { who, fields, .. } = admin;
    let id = user(&id)?;
    let account = administration::account(&app.store, id).await?;
    let hashing = (&app.config.passwords, &app.passwords);
    let store = who.store_about(&app, id);
    administration::set_password(&store, hashing, (id, &account), &fields.password).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Whose id it is. What is none is nobody's.
pub(super) fn user(text: &str) -> Result<UserId, Error> {
    text.parse().map(UserId).map_err(|_| Error::Missing(NO_USER))
}

impl From<NotFound> for Error {
    fn from(why: NotFound) -> Self {
        match why {
            NotFound::Nobody(_) => Self::Missing(NO_USER),
            NotFound::Unclear(_) => Self::InvalidRequest(
                "That can mean two users: say id:…, name:… or email:…, with an id that is one."
                    .to_owned(),
            ),
            NotFound::Store(error) => error.into(),
        }
    }
}
