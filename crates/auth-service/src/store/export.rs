//! Everything that is kept about a user, for themselves: the row of the user, and then the rest a part at a time,
//! however much it is.
//!
//! The members are the columns of the tables, by their names. What is left out is what would be of use to a thief and
//! to nobody else (`users.password_hash`, `invitations.digest`), and what says nothing else than another member:
//! `users.username_key` and `users.email_key`, the forms in which names are compared, `events.repeat_of`, by which like
//! entries are counted, and `users.deleted_at`, which nobody has who can ask.

use claims::{Timestamp, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::postgres::Lane;
use super::rows::{self, Columns as _, Row, user_columns};
use super::{Store, StoreError};

/// How many rows one part has at the most.
const PART: i64 = 500;

/// The row of a user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExportedUser {
    /// The user id.
    pub id: UserId,
    /// The name as they wrote it, if they have one.
    #[schema(required)]
    pub username: Option<String>,
    /// Their address, if they gave one. Nobody has proved that it is theirs.
    #[schema(required)]
    pub email: Option<String>,
    /// How often the password was set. The password is kept as a hash, which is not told.
    pub password_version: i64,
    /// How often all sessions were ended, and one.
    pub version: i64,
    /// Why they last were.
    #[schema(required)]
    pub version_reason: Option<String>,
    /// Whether they may log in.
    pub enabled: bool,
    /// What they may do beyond others.
    pub roles: Vec<String>,
    /// When they registered.
    pub created_at: Timestamp,
    /// When all sessions last were ended.
    #[schema(required)]
    pub changed_at: Option<Timestamp>,
}

/// The row of a session. Those that are over are kept for seven days.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExportedSession {
    /// The session id.
    pub id: String,
    /// Whose it is.
    pub user_id: UserId,
    /// The client that it was opened by.
    pub client_id: String,
    /// What was granted.
    pub scope: String,
    /// For which services, as a list in JSON; null: for all that the client has.
    #[schema(required)]
    pub audience: Option<String>,
    /// The user's `version` when it was opened.
    pub subject_version: i64,
    /// How often it was refreshed, and one.
    pub generation: i64,
    /// When it was last refreshed.
    #[schema(required)]
    pub rotated_at: Option<Timestamp>,
    /// The network address of the last refresh.
    #[schema(required)]
    pub rotated_ip: Option<String>,
    /// The user agent of the last refresh.
    #[schema(required)]
    pub rotated_user_agent: Option<String>,
    /// When it ends unless it is used.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// When it was ended, if it was.
    #[schema(required)]
    pub revoked_at: Option<Timestamp>,
    /// Why it was ended.
    #[schema(required)]
    pub revoke_reason: Option<String>,
    /// When they logged in.
    pub auth_time: Timestamp,
    /// How they logged in, with spaces between (RFC 8176).
    pub amr: String,
    /// What the client called the device.
    #[schema(required)]
    pub device: Option<String>,
    /// The user agent of the login.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// The network address of the login.
    #[schema(required)]
    pub ip: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// The row of an invitation that they used. It is kept for a week after its end.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExportedInvitation {
    /// The invitation's id.
    pub id: String,
    /// The address that it is bound to, if it is.
    #[schema(required)]
    pub email: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it could be used.
    pub expires_at: Timestamp,
    /// When it was used.
    #[schema(required)]
    pub used_at: Option<Timestamp>,
    /// Who registered with it.
    #[schema(required)]
    pub user_id: Option<UserId>,
    /// When it was taken back.
    #[schema(required)]
    pub revoked_at: Option<Timestamp>,
}

/// An entry of the audit log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExportedEvent {
    /// Its number.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub kind: String,
    /// To whom.
    #[schema(required)]
    pub user_id: Option<UserId>,
    /// In which session.
    #[schema(required)]
    pub session_id: Option<String>,
    /// Why, or what exactly.
    #[schema(required)]
    pub reason: Option<String>,
    /// From which network address.
    #[schema(required)]
    pub ip: Option<String>,
    /// By which user agent.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// Where a refresh token had been used before.
    #[schema(required)]
    pub other_ip: Option<String>,
    /// By which user agent.
    #[schema(required)]
    pub other_user_agent: Option<String>,
    /// A pseudonym of the name that was tried at a failed login.
    #[schema(required)]
    pub subject: Option<String>,
    /// A pseudonym of the network that a failed login came from.
    #[schema(required)]
    pub origin: Option<String>,
    /// How often, where the same came again within ten minutes.
    pub times: i64,
    /// When it came last, if it came again.
    #[schema(required)]
    pub last_at: Option<Timestamp>,
}

impl Store {
    /// The row of a user; `None` where there is none.
    pub async fn exported_user(&self, user: UserId) -> Result<Option<ExportedUser>, StoreError> {
        let sql = concat!(
            "select cast(u.password_version as bigint) as password_version, \
                cast(u.version as bigint) as version, u.version_reason, u.changed_at, \
                cast(case when u.enabled then 1 else 0 end as bigint) as enabled, ",
            user_columns!(),
            " from users u where u.id = $1 and u.deleted_at is null"
        );
        let found = self.read("exported_user", Lane::Main, sql, vec![user.into()]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let user = rows::user(row)?;
        Ok(Some(ExportedUser {
            id: user.id,
            username: user.username,
            email: user.email,
            password_version: row.int("password_version")?,
            version: row.int("version")?,
            version_reason: row.text_or_null("version_reason")?,
            enabled: row.flag("enabled")?,
            roles: user.roles,
            created_at: user.created_at,
            changed_at: row.time_or_null("changed_at")?,
        }))
    }

    /// The next sessions of a user after the one that is named. The last part is empty.
    pub async fn exported_sessions(
        &self,
        user: UserId,
        after: Option<String>,
    ) -> Result<Vec<ExportedSession>, StoreError> {
        let sql = "select s.id, cast(s.user_id as text) as user_id, s.client_id, s.scope, s.audience, \
                cast(s.subject_version as bigint) as subject_version, s.generation, s.rotated_at, \
                s.rotated_ip, s.rotated_user_agent, s.idle_expires_at, s.expires_at, s.revoked_at, \
                s.revoke_reason, s.auth_time, s.amr, s.device, s.user_agent, s.ip, s.created_at \
             from sessions s where s.user_id = $1 and s.id > $2 order by s.id limit $3";
        let after = after.unwrap_or_default();
        let values = vec![user.into(), after.into(), PART.into()];
        let found = self.read("exported_sessions", Lane::Main, sql, values).await?;
        Ok(found.iter().map(session).collect::<Result<_, _>>()?)
    }

    /// The next invitations that a user used, after the one that is named. One that is bound to their address and was
    /// not used by them may be somebody else's: nobody has shown whose the address is. The last part is empty.
    pub async fn exported_invitations(
        &self,
        user: UserId,
        after: Option<String>,
    ) -> Result<Vec<ExportedInvitation>, StoreError> {
        let sql = "select cast(i.id as text) as id, i.email, i.created_at, i.expires_at, i.used_at, \
                cast(i.user_id as text) as user_id, i.revoked_at \
             from invitations i where i.user_id = $1 \
               and cast(i.id as text) > $2 order by cast(i.id as text) limit $3";
        let after = after.unwrap_or_default();
        let values = vec![user.into(), after.into(), PART.into()];
        let found = self.read("exported_invitations", Lane::Main, sql, values).await?;
        Ok(found.iter().map(invitation).collect::<Result<_, _>>()?)
    }

    /// The next entries of the audit log about a user, failed logins or all others, after the one that is named. The
    /// last part is empty.
    pub async fn exported_events(
        &self,
        user: UserId,
        failed_logins: bool,
        after: i64,
    ) -> Result<Vec<ExportedEvent>, StoreError> {
        macro_rules! events {
            ($kinds:literal) => {
                concat!(
                    "select id, at, kind, cast(user_id as text) as user_id, session_id, reason, ip, \
                        user_agent, other_ip, other_user_agent, subject, origin, times, last_at \
                     from events where user_id = $1 and ",
                    $kinds,
                    " and id > $2 order by id limit $3"
                )
            };
        }
        // As each of the two indexes has them.
        let sql = if failed_logins {
            events!("kind = 'login-failed'")
        } else {
            events!("kind <> 'login-failed'")
        };
        let values = vec![user.into(), after.into(), PART.into()];
        let found = self.read("exported_events", Lane::Main, sql, values).await?;
        Ok(found.iter().map(event).collect::<Result<_, _>>()?)
    }
}

fn session(row: &Row) -> Result<ExportedSession, sqlx::Error> {
    Ok(ExportedSession {
        id: row.text("id")?,
        user_id: rows::user_id(row)?,
        client_id: row.text("client_id")?,
        scope: row.text("scope")?,
        audience: row.text_or_null("audience")?,
        subject_version: row.int("subject_version")?,
        generation: row.int("generation")?,
        rotated_at: row.time_or_null("rotated_at")?,
        rotated_ip: row.text_or_null("rotated_ip")?,
        rotated_user_agent: row.text_or_null("rotated_user_agent")?,
        idle_expires_at: row.time("idle_expires_at")?,
        expires_at: row.time("expires_at")?,
        revoked_at: row.time_or_null("revoked_at")?,
        revoke_reason: row.text_or_null("revoke_reason")?,
        auth_time: row.time("auth_time")?,
        amr: row.text("amr")?,
        device: row.text_or_null("device")?,
        user_agent: row.text_or_null("user_agent")?,
        ip: row.text_or_null("ip")?,
        created_at: row.time("created_at")?,
    })
}

fn invitation(row: &Row) -> Result<ExportedInvitation, sqlx::Error> {
    Ok(ExportedInvitation {
        id: row.text("id")?,
        email: row.text_or_null("email")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        used_at: row.time_or_null("used_at")?,
        user_id: user_or_null(row)?,
        revoked_at: row.time_or_null("revoked_at")?,
    })
}

fn event(row: &Row) -> Result<ExportedEvent, sqlx::Error> {
    Ok(ExportedEvent {
        id: row.int("id")?,
        at: row.time("at")?,
        kind: row.text("kind")?,
        user_id: user_or_null(row)?,
        session_id: row.text_or_null("session_id")?,
        reason: row.text_or_null("reason")?,
        ip: row.text_or_null("ip")?,
        user_agent: row.text_or_null("user_agent")?,
        other_ip: row.text_or_null("other_ip")?,
        other_user_agent: row.text_or_null("other_user_agent")?,
        subject: row.text_or_null("subject")?,
        origin: row.text_or_null("origin")?,
        times: row.int("times")?,
        last_at: row.time_or_null("last_at")?,
    })
}

fn user_or_null(row: &Row) -> Result<Option<UserId>, sqlx::Error> {
    row.text_or_null("user_id")?.map(|_| rows::user_id(row)).transpose()
}
