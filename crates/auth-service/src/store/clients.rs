//! OAuth clients: found, and written as the settings have them.

use std::str::FromStr;
use std::time::Duration;

use claims::{ClientId, Scope};
use futures_util::FutureExt as _;
use sqlx::Error;

use super::postgres::Lane;
use super::rows::{Columns, services};
use super::{Store, StoreError};

/// Whether a client can keep a secret (RFC 6749 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// It cannot: it runs where its users could read the secret.
    Public,
    Confidential,
}

impl ClientKind {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Confidential => "confidential",
        }
    }
}

/// A client is neither public nor confidential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client is public or confidential")]
pub struct UnknownKind;

impl FromStr for ClientKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        [Self::Public, Self::Confidential]
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(UnknownKind)
    }
}

/// A program that tokens are issued to, and what it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub client_id: ClientId,
    /// Whether it can keep a secret.
    pub kind: ClientKind,
    /// What people call it.
    pub name: String,
    /// What may be granted to it.
    pub scopes: Scope,
    /// What is granted to it where it asks for nothing.
    pub default_scopes: Scope,
    /// The services that its tokens are for, besides the issuer.
    pub audiences: Vec<String>,
    /// By what it may get tokens, as `grant_type` has it (RFC 6749).
    pub grants: Vec<String>,
    /// How long its access tokens last, in whole seconds, as the other two.
    pub access: Duration,
    /// For how long its sessions may lie unused.
    pub idle: Duration,
    /// When its sessions end in any case.
    pub absolute: Duration,
}

impl Store {
    /// The client with this id.
    pub async fn client(&self, id: ClientId) -> Result<Option<Client>, StoreError> {
        let sql = "select client_id, kind, name, scopes, default_scopes, audiences, grants, \
                access_seconds, idle_seconds, absolute_seconds from clients where client_id = $1";
        let found = self.read("client", Lane::Main, sql, vec![id.as_str().into()]).await?;
        Ok(found.first().map(client).transpose()?)
    }

    /// Makes the row of a client what is given here; whether anything had to be changed. Its version
    /// stays. Of several that write the same at once, one does.
    pub async fn put_client(&self, client: Client) -> Result<bool, StoreError> {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let values = [
            client.client_id.as_str().into(),
            client.kind.as_str().into(),
            client.name.into(),
            client.scopes.as_str().into(),
            client.default_scopes.as_str().into(),
            serde_json::json!(client.audiences).to_string().into(),
            client.grants.join(" ").into(),
            seconds(client.access).into(),
            seconds(client.idle).into(),
            seconds(client.absolute).into(),
        ];
        self.transaction("put_client", Lane::Main, (), move |tx| {
            async move {
                let added = "insert into clients (client_id, kind, name, scopes, default_scopes, \
                        audiences, grants, access_seconds, idle_seconds, absolute_seconds, \
                        created_at, changed_at) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, {now}, {now}) \
                     on conflict do nothing";
                if tx.execute(added, &values).await? > 0 {
                    return Ok(true);
                }
                let changed = "update clients set kind = $2, name = $3, scopes = $4, \
                        default_scopes = $5, audiences = $6, grants = $7, access_seconds = $8, \
                        idle_seconds = $9, absolute_seconds = $10, changed_at = {now} \
                     where client_id = $1 and (kind <> $2 or name <> $3 or scopes <> $4 \
                        or default_scopes <> $5 or audiences <> $6 or grants <> $7 \
                        or access_seconds <> $8 or idle_seconds <> $9 or absolute_seconds <> $10)";
                Ok(tx.execute(changed, &values).await? > 0)
            }
            .boxed()
        })
        .await
    }
}

fn client(row: &impl Columns) -> Result<Client, Error> {
    let seconds = |name| row.small(name).map(|seconds| Duration::from_secs(seconds.into()));
    Ok(Client {
        client_id: row.parsed("client_id")?,
        kind: row.parsed("kind")?,
        name: row.text("name")?,
        scopes: row.parsed("scopes")?,
        default_scopes: row.parsed("default_scopes")?,
        audiences: services("audiences", &row.text("audiences")?)?,
        grants: row.text("grants")?.split_whitespace().map(str::to_owned).collect(),
        access: seconds("access_seconds")?,
        idle: seconds("idle_seconds")?,
        absolute: seconds("absolute_seconds")?,
    })
}
