//! Invitations: made, looked at, used, listed, revoked, deleted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use claims::{Timestamp, UserId};
use futures_util::FutureExt as _;
use sqlx::Error;
use uuid::Uuid;

use super::postgres::Lane;
use super::records::{NewUser, UserRecord};
use super::rows::Columns;
use super::statement::Value;
use super::transaction::Tx;
use super::{Done, Once, Store, StoreError, users};
use crate::identity::names::NameKey;

/// Which invitation; it lets nobody register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvitationId(Uuid);

impl InvitationId {
    /// As it is kept.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for InvitationId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl From<InvitationId> for Value {
    fn from(id: InvitationId) -> Self {
        Self::Uuid(Some(id.0))
    }
}

/// SHA-256 of the secret in an invitation's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvitationDigest(pub [u8; 32]);

impl From<InvitationDigest> for Value {
    fn from(digest: InvitationDigest) -> Self {
        digest.0.to_vec().into()
    }
}

/// An invitation to be made.
#[derive(Debug)]
pub struct NewInvitation {
    pub digest: InvitationDigest,
    /// The address that it is bound to, as written and as compared.
    pub email: Option<(String, NameKey)>,
    /// For how long it is good.
    pub lifetime: Duration,
}

/// What became of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationState {
    /// It can be used.
    Open,
    /// This user registered with it.
    Used(UserId),
    /// An administrator took it back.
    Revoked,
    /// Nobody used it in time.
    Expired,
}

impl InvitationState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Used(_) => "used",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

/// An invitation as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub id: InvitationId,
    /// The address that it is bound to, as written.
    pub email: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub state: InvitationState,
}

/// What became of a registration with an invitation.
#[derive(Debug)]
pub enum InvitedRegistration {
    /// The user was added, and the invitation is used.
    Added(UserRecord),
    /// The name or the address is taken. The invitation is as good as before.
    Taken,
    /// The invitation is not good, or not for this address.
    NotInvited,
}

/// Whether the invitation of the digest `$1` is good for whoever has the address `$2`, which may be null.
macro_rules! good_invitation {
    () => {
        "select 1 from invitations where digest = $1 and used_at is null and revoked_at is null \
         and expires_at > {now} and (email_key is null or email_key = $2)"
    };
}

macro_rules! invitation_columns {
    () => {
        "cast(id as text) as invitation_id, email, created_at, expires_at, \
         cast(user_id as text) as user_id, case when used_at is not null then 'used' \
            when revoked_at is not null then 'revoked' when expires_at <= {now} then 'expired' \
            else 'open' end as state"
    };
}

impl Store {
    /// Makes an invitation.
    pub async fn invite(&self, new: NewInvitation) -> Result<Invitation, StoreError> {
        self.transaction("invite", Lane::Main, (), move |tx| insert(tx, new).boxed()).await
    }

    /// The same once.
    pub async fn invite_once(
        &self,
        once: Once,
        new: NewInvitation,
    ) -> Result<Done<Invitation>, StoreError> {
        self.transaction("invite_once", Lane::Main, (), move |tx| {
            async move {
                if let Some(done) = once.begin(tx).await? {
                    return Ok(done);
                }
                let made = insert(tx, new).await?;
                once.end(tx, Some(made.id.to_string())).await?;
                Ok(Done::Now(made))
            }
            .boxed()
        })
        .await
    }

    /// An invitation, whatever became of it.
    pub async fn invitation(&self, id: InvitationId) -> Result<Option<Invitation>, StoreError> {
        let sql = concat!("select ", invitation_columns!(), " from invitations where id = $1");
        let found = self.read("invitation", Lane::Main, sql, vec![id.into()]).await?;
        Ok(found.first().map(invitation).transpose()?)
    }

    /// Whether somebody with this address could register with the invitation at this moment.
    pub async fn is_invited(
        &self,
        digest: InvitationDigest,
        email: Option<NameKey>,
    ) -> Result<bool, StoreError> {
        let values = vec![digest.into(), address(email.as_ref())];
        let found = self.read("is_invited", Lane::Logins, good_invitation!(), values).await?;
        Ok(!found.is_empty())
    }

    /// Adds a user, and uses the invitation up in the same step. Of several that come with one
    /// invitation, one is added.
    pub async fn create_invited_user(
        &self,
        user: NewUser,
        digest: InvitationDigest,
    ) -> Result<InvitedRegistration, StoreError> {
        self.transaction("create_invited_user", Lane::Logins, (), move |tx| {
            async move {
                // The row is locked first: whoever comes at the same moment waits here, and then finds it used.
                let sql = concat!(good_invitation!(), " {lock}");
                let email = user.email.as_ref().map(|(_, key)| key);
                if tx.fetch_all(sql, &[digest.into(), address(email)]).await?.is_empty() {
                    return Ok(InvitedRegistration::NotInvited);
                }
                let Some(user) = users::insert(tx, user).await? else {
                    return Ok(InvitedRegistration::Taken);
                };
                let sql = "update invitations set used_at = {now}, user_id = $2 where digest = $1";
                tx.execute(sql, &[digest.into(), user.id.into()]).await?;
                Ok(InvitedRegistration::Added(user))
            }
            .boxed()
        })
        .await
    }

    /// Invitations in the order in which they were made, after the one that is named.
    pub async fn list_invitations(
        &self,
        after: Option<InvitationId>,
        most: i64,
    ) -> Result<Vec<Invitation>, StoreError> {
        let sql = concat!(
            "select ",
            invitation_columns!(),
            " from invitations where id > $1 order by id limit $2"
        );
        let after = after.unwrap_or(InvitationId(Uuid::nil()));
        let found =
            self.read("list_invitations", Lane::Main, sql, vec![after.into(), most.into()]).await?;
        Ok(found.iter().map(invitation).collect::<Result<_, _>>()?)
    }

    /// Takes an invitation back; `false` when there is none that could still be used.
    pub async fn revoke_invitation(&self, id: InvitationId) -> Result<bool, StoreError> {
        let sql = "update invitations set revoked_at = {now} where id = $1 and used_at is null \
            and revoked_at is null and expires_at > {now}";
        Ok(self.write("revoke_invitation", Lane::Main, (), sql, vec![id.into()]).await? > 0)
    }

    /// Takes back every invitation that could still be used; says how many.
    pub async fn revoke_open_invitations(&self) -> Result<u64, StoreError> {
        let sql = "update invitations set revoked_at = {now} where used_at is null \
            and revoked_at is null and expires_at > {now}";
        self.write("revoke_open_invitations", Lane::Main, (), sql, Vec::new()).await
    }

    /// Deletes invitations that expired `before` that moment, whatever became of them, at most `batch` of
    /// them. Says how many that were.
    pub async fn purge_invitations(
        &self,
        before: Timestamp,
        batch: i64,
    ) -> Result<u64, StoreError> {
        let sql = "delete from invitations where id in ( \
            select id from invitations where expires_at < $1 order by id limit $2)";
        let values = vec![before.into(), batch.into()];
        self.write("purge_invitations", Lane::Main, (), sql, values).await
    }
}

async fn insert(tx: &mut Tx, new: NewInvitation) -> Result<Invitation, StoreError> {
    let (email, email_key) = new.email.unzip();
    let sql = concat!(
        "insert into invitations (id, digest, email, email_key, created_at, expires_at) \
         values ($1, $2, $3, $4, {now}, {now} + $5) returning ",
        invitation_columns!()
    );
    let values = [
        InvitationId(Uuid::now_v7()).into(),
        new.digest.into(),
        email.into(),
        email_key.map(|key| key.as_str().to_owned()).into(),
        new.lifetime.into(),
    ];
    let made = tx.fetch_all(sql, &values).await?;
    Ok(invitation(made.first().ok_or(Error::RowNotFound)?)?)
}

fn address(email: Option<&NameKey>) -> Value {
    email.map(|key| key.as_str().to_owned()).into()
}

fn invitation(row: &impl Columns) -> Result<Invitation, Error> {
    let state = match row.text("state")?.as_str() {
        "open" => InvitationState::Open,
        "used" => InvitationState::Used(UserId(row.parsed("user_id")?)),
        "revoked" => InvitationState::Revoked,
        // There is no other, by `invitation_columns`.
        _ => InvitationState::Expired,
    };
    Ok(Invitation {
        id: row.parsed("invitation_id")?,
        email: row.text_or_null("email")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        state,
    })
}
