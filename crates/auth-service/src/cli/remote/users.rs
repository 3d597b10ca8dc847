//! `auth-service user …` over HTTP.

use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::console::{Failure, read_password, say};
use super::super::lines::{self, InvitationLine, ShownUser, UserLine};
use super::super::users::Users;
use super::{PAGE, Remote, needs_the_database, sessions};

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct User {
    id: String,
    username: Option<String>,
    email: Option<String>,
    roles: Vec<String>,
    enabled: bool,
    created_at: String,
}

#[derive(Deserialize)]
struct Page {
    users: Vec<User>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Invitation {
    id: String,
    email: Option<String>,
    state: String,
    created_at: String,
    expires_at: String,
    user_id: Option<String>,
    token: Option<String>,
    link: Option<String>,
}

#[derive(Deserialize)]
struct Invitations {
    invitations: Vec<Invitation>,
    next: Option<String>,
}

pub(in super::super) async fn run(remote: &Remote, what: Users) -> Result<(), Failure> {
    match what {
        Users::Create { username, email, roles } => {
            let password = read_password("Password")?;
            let body = json!({
                "username": username, "email": email, "roles": roles,
                "password": password.expose_secret(),
            });
            let made: Made = remote.make("/users", &body).await?;
            say(&made.id);
        }
        Users::Import { .. } => return Err(needs_the_database("user import")),
        Users::Invite { email, expires_hours } => {
            let body = json!({"email": email, "expires_hours": expires_hours});
            let one: Invitation = remote.make("/invitations", &body).await?;
            let (token, link) = (one.token.as_deref(), one.link.as_deref());
            say(&lines::new_invitation(&one.id, token, &one.expires_at, link));
        }
        Users::Invitations => invitations(remote).await?,
        Users::Uninvite { invitation } => {
            // Not repeated: it may be the token.
            let id: Uuid = invitation
                .parse()
                .map_err(|_| "that is no id of an invitation; see `user invitations`")?;
            remote.send(Method::DELETE, &format!("/invitations/{id}"), None).await?;
            say(&format!("invitation {id} is revoked"));
        }
        Users::List { search, after, limit } => list(remote, search, after, limit).await?,
        Users::Show { user } => show(remote, &user).await?,
        Users::Rename { user, name, none: _ } => {
            let told = lines::has("name", name.as_deref());
            let user = change(remote, &user, json!({"username": name})).await?;
            say(&format!("{user} has {told}"));
        }
        Users::SetEmail { user, address, none: _ } => {
            let told = lines::has("address", address.as_deref());
            let user = change(remote, &user, json!({"email": address})).await?;
            say(&format!("{user} has {told}"));
        }
        Users::Delete { user } => {
            let user = remote.find(&user).await?;
            remote.send(Method::DELETE, &format!("/users/{user}"), None).await?;
            say(&lines::deleted(&user));
        }
        Users::Export { user } => {
            let user = remote.find(&user).await?;
            remote.copy(&format!("/users/{user}/export")).await?;
        }
        Users::Disable { user } => {
            let user = change(remote, &user, json!({"enabled": false})).await?;
            say(&format!("{user} is disabled; every session is over"));
        }
        Users::Enable { user } => {
            let user = change(remote, &user, json!({"enabled": true})).await?;
            say(&format!("{user} is enabled"));
        }
        Users::SetPassword { user } => {
            let user = remote.find(&user).await?;
            let password = read_password("New password")?;
            let body = json!({"password": password.expose_secret()});
            remote.send(Method::PUT, &format!("/users/{user}/password"), Some(&body)).await?;
            say(&format!("{user} has the new password; every session is over"));
        }
        Users::Roles { user, roles, none: _ } => {
            let told = if roles.is_empty() { "no roles".to_owned() } else { roles.join(", ") };
            let user = change(remote, &user, json!({"roles": roles})).await?;
            say(&format!("{user} has {told}"));
        }
    }
    Ok(())
}

async fn change(remote: &Remote, user: &str, body: Value) -> Result<String, Failure> {
    let user = remote.find(user).await?;
    remote.send(Method::PATCH, &format!("/users/{user}"), Some(&body)).await?;
    Ok(user)
}

async fn list(
    remote: &Remote,
    search: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
) -> Result<(), Failure> {
    let mut after = after.map(|id| id.strip_prefix("id:").unwrap_or(&id).to_owned());
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0 {
        let most = left.min(PAGE).to_string();
        let mut query = vec![("limit", most.as_str())];
        query.extend(search.as_deref().map(|text| ("search", text)));
        query.extend(after.as_deref().map(|after| ("after", after)));
        let page: Page = remote.get("/users", &query).await?;
        left = left.saturating_sub(page.users.len());
        for user in &page.users {
            say(&lines::user(&line(user)));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

fn line(user: &User) -> UserLine<'_> {
    UserLine {
        id: user.id.clone(),
        username: user.username.as_deref(),
        email: user.email.as_deref(),
        roles: &user.roles,
        enabled: user.enabled,
        created_at: user.created_at.clone(),
    }
}

async fn show(remote: &Remote, text: &str) -> Result<(), Failure> {
    let user = remote.find(text).await?;
    let path = format!("/users/{user}");
    let found: User = remote.get(&path, &[]).await?;
    let sessions = sessions::of(remote, &user).await?;
    lines::show(&ShownUser {
        user: line(&found),
        live_sessions: sessions.len(),
        // Instants of one form are in the order of their texts.
        last_used_at: sessions.into_iter().map(|session| session.last_used_at).max(),
    });
    Ok(())
}

async fn invitations(remote: &Remote) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let most = PAGE.to_string();
        let mut query = vec![("limit", most.as_str())];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let page: Invitations = remote.get("/invitations", &query).await?;
        for one in page.invitations {
            say(&lines::invitation(&InvitationLine {
                id: one.id,
                email: one.email.as_deref(),
                state: &one.state,
                created_at: one.created_at,
                expires_at: one.expires_at,
                user: one.user_id,
            }));
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
