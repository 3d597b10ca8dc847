//! `POST /register`

use actix_web::{HttpRequest, HttpResponse, web};
use hosting::Json;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::RegistrationMode;
use crate::error::Error;
use crate::http::edge::requester;
use crate::policy::accounts::{self, Registration};
use crate::policy::app::App;
use crate::store::UserView;

/// What `POST /register` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// May be left out where there is an `email`. 1 to 64 characters when it is composed (NFC), no `@`, nothing
    /// invisible, no spaces around it; not like a UUID, and without `id:`, `name:` or `email:` at its beginning.
    #[schema(min_length = 1)]
    username: Option<String>,
    /// 15 to 256 characters, unless the service is set to other bounds.
    #[schema(value_type = String)]
    password: SecretString,
    /// One `@` with something on each side. It is not written to. Its owner logs in with it as with a name.
    email: Option<String>,
    /// Where registration is by invitation: one that is good, `inv1.` and 32 characters. It is used up by the
    /// account that it makes, and by nothing else. Elsewhere it is not looked at.
    #[schema(value_type = Option<String>)]
    invitation: Option<SecretString>,
}

/// What `POST /register` answers.
#[derive(Serialize, ToSchema)]
pub struct Registered {
    /// The account.
    pub user: UserView,
}

pub(crate) async fn register(
    app: web::Data<App>,
    request: HttpRequest,
    Json(fields): Json<RegisterRequest>,
) -> Result<HttpResponse, Error> {
    let RegisterRequest { username, password, email, invitation } = fields;
    let requester = requester::of(&app, &request);
    let registration = Registration { username, email, password, requester };
    let user = accounts::register(&app, registration, invitation).await?;
    Ok(HttpResponse::Created().json(Registered { user: user.into() }))
}

/// What the documentation says of who may register. Plain words: it is put into finished text.
#[must_use]
pub const fn who_may_register(mode: RegistrationMode) -> &'static str {
    match mode {
        RegistrationMode::Open => "Registration is open here, to whoever comes.",
        RegistrationMode::Invite => "Registration is by invitation here, and each is good once.",
        RegistrationMode::Closed => {
            "Registration is closed here, and accounts are made by whoever runs this service."
        }
    }
}
