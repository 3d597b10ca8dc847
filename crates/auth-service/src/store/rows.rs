//! From rows to records: the place where nullable columns become states.

use std::str::FromStr;

use claims::{Revoked, Timestamp, UserId};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Row as _};
use uuid::Uuid;

use super::records::{Credentials, EndReason, Found, Grant, Listed, Requester, UserRecord};

use crate::store::SessionView;

/// What the column `username` holds of somebody who has no name; nobody can have this one. It is not null, so
/// that programs of before, which read a text there, serve such people too.
pub(super) const NO_NAME: &str = "";

/// What stands in the place of what a name is compared by, where there is none. It is unlike any other, and unlike all
/// that can be typed: in a name there is no @, and in an address there is a dot behind it.
pub(super) fn key_of_no_name(user: UserId) -> String {
    format!("@{user}")
}

/// The same of somebody who is deleted. All of them are found by how it begins.
pub(super) fn key_of_deleted(user: UserId) -> String {
    format!("{DELETED}{user}")
}

/// How [`key_of_deleted`] begins. No id does.
pub(super) const DELETED: &str = "@!";

/// Reads columns by name, from either database.
pub(super) trait Columns {
    fn int(&self, name: &'static str) -> Result<i64, Error>;
    fn int_or_null(&self, name: &'static str) -> Result<Option<i64>, Error>;
    fn text(&self, name: &'static str) -> Result<String, Error>;
    fn text_or_null(&self, name: &'static str) -> Result<Option<String>, Error>;
    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, Error>;

    fn time(&self, name: &'static str) -> Result<Timestamp, Error> {
        self.int(name).map(Timestamp)
    }

    fn time_or_null(&self, name: &'static str) -> Result<Option<Timestamp>, Error> {
        Ok(self.int_or_null(name)?.map(Timestamp))
    }

    /// A flag that the query wrote as 0 or 1.
    fn flag(&self, name: &'static str) -> Result<bool, Error> {
        self.int(name).map(|value| value != 0)
    }

    fn parsed<T: FromStr>(&self, name: &'static str) -> Result<T, Error>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.text(name)?.parse().map_err(|source| decode(name, source))
    }

    fn small(&self, name: &'static str) -> Result<u32, Error> {
        u32::try_from(self.int(name)?).map_err(|source| decode(name, source))
    }
}

macro_rules! columns_of {
    ($row:ty) => {
        impl Columns for $row {
            fn int(&self, name: &'static str) -> Result<i64, Error> {
                self.try_get(name)
            }

            fn int_or_null(&self, name: &'static str) -> Result<Option<i64>, Error> {
                self.try_get(name)
            }

            fn text(&self, name: &'static str) -> Result<String, Error> {
                self.try_get(name)
            }

            fn text_or_null(&self, name: &'static str) -> Result<Option<String>, Error> {
                self.try_get(name)
            }

            fn bytes(&self, name: &'static str) -> Result<Vec<u8>, Error> {
                self.try_get(name)
            }
        }
    };
}

columns_of!(PgRow);
columns_of!(SqliteRow);

/// A row of either database.
pub(super) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Columns for Row {
    fn int(&self, name: &'static str) -> Result<i64, Error> {
        match self {
            Self::Postgres(row) => row.int(name),
            Self::Sqlite(row) => row.int(name),
        }
    }

    fn int_or_null(&self, name: &'static str) -> Result<Option<i64>, Error> {
        match self {
            Self::Postgres(row) => row.int_or_null(name),
            Self::Sqlite(row) => row.int_or_null(name),
        }
    }

    fn text(&self, name: &'static str) -> Result<String, Error> {
        match self {
            Self::Postgres(row) => row.text(name),
            Self::Sqlite(row) => row.text(name),
        }
    }

    fn text_or_null(&self, name: &'static str) -> Result<Option<String>, Error> {
        match self {
            Self::Postgres(row) => row.text_or_null(name),
            Self::Sqlite(row) => row.text_or_null(name),
        }
    }

    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, Error> {
        match self {
            Self::Postgres(row) => row.bytes(name),
            Self::Sqlite(row) => row.bytes(name),
        }
    }
}

fn decode(index: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::ColumnDecode { index: index.to_owned(), source: Box::new(source) }
}

/// The columns of a user; `u` is the table.
macro_rules! user_columns {
    () => {
        "cast(u.id as text) as user_id, u.username, u.email, u.roles, \
         u.created_at as user_created_at"
    };
}
pub(super) use user_columns;

/// The columns of a user as administrators see them; `u` is the table.
macro_rules! listed_columns {
    () => {
        concat!(
            "cast(case when u.enabled then 1 else 0 end as bigint) as enabled, ",
            $crate::store::rows::user_columns!()
        )
    };
}
pub(super) use listed_columns;

/// The columns of a session as its owner sees it, but for whether it is the one that asks; `s` is the
/// table.
macro_rules! session_columns {
    () => {
        "s.id as session_id, s.created_at, coalesce(s.rotated_at, s.created_at) as last_used_at, \
         s.expires_at, s.ip, s.user_agent, s.device"
    };
}
pub(super) use session_columns;

/// The columns of a grant; `s` and `u` are the tables.
macro_rules! grant_columns {
    () => {
        concat!(
            "s.id as session_id, s.client_id, s.scope, s.audience, \
             cast(s.subject_version as bigint) as subject_version, s.generation, s.auth_time, \
             s.amr, s.idle_expires_at, s.expires_at, ",
            $crate::store::rows::user_columns!()
        )
    };
}
pub(super) use grant_columns;

/// The columns of credentials; `u` is the table.
macro_rules! credentials_columns {
    () => {
        concat!(
            "u.password_hash, cast(u.password_version as bigint) as password_version, \
             cast(u.version as bigint) as version, \
             cast(case when u.enabled then 1 else 0 end as bigint) as enabled, ",
            $crate::store::rows::user_columns!()
        )
    };
}
pub(super) use credentials_columns;

/// Whether the session `s` of the user `u` is good at `clock.now`. `idle_expires_at` is never later
/// than `expires_at`.
macro_rules! live {
    () => {
        "s.revoked_at is null and u.enabled and u.version = s.subject_version \
         and clock.now < s.idle_expires_at"
    };
}
pub(super) use live;

/// Whether the session `s` is also within the present limits at `clock.now`: they count where they are
/// lower than those that it was opened with. `$idle` and `$absolute` are parameters, in milliseconds.
macro_rules! within_limits {
    ($idle:literal, $absolute:literal) => {
        concat!(
            "clock.now < coalesce(s.rotated_at, s.created_at) + ",
            $idle,
            " and clock.now < s.created_at + ",
            $absolute
        )
    };
}
pub(super) use within_limits;

/// Whether the caller's session `s` is `$1`, live, and acted on with a token that is good: `$2` is
/// its generation or null, `$3` the grace window.
macro_rules! is_caller {
    () => {
        concat!(
            "s.id = $1 and u.id = s.user_id and ",
            $crate::store::rows::live!(),
            " and ($2 is null or s.generation = $2 or \
               (s.generation = $2 + 1 and abs(clock.now - s.rotated_at) < $3))"
        )
    };
}
pub(super) use is_caller;

/// A list of services, as the database has it: a JSON array of text.
pub(super) fn services(column: &'static str, text: &str) -> Result<Vec<String>, Error> {
    serde_json::from_str(text).map_err(|error| decode(column, error))
}

pub(super) fn user_id(row: &impl Columns) -> Result<UserId, Error> {
    Ok(UserId(row.parsed::<Uuid>("user_id")?))
}

pub(super) fn user(row: &impl Columns) -> Result<UserRecord, Error> {
    let roles = row.text("roles")?;
    Ok(UserRecord {
        id: user_id(row)?,
        username: Some(row.text("username")?).filter(|name| name != NO_NAME),
        email: row.text_or_null("email")?,
        roles: roles.split_whitespace().map(str::to_owned).collect(),
        created_at: row.time("user_created_at")?,
    })
}

/// Besides a user's: `enabled`.
pub(super) fn listed(row: &impl Columns) -> Result<Listed, Error> {
    Ok(Listed { user: user(row)?, enabled: row.flag("enabled")? })
}

pub(super) fn credentials(row: &impl Columns) -> Result<Credentials, Error> {
    let user = user(row)?;
    Ok(Credentials {
        user: user.id,
        username: user.username,
        email: user.email,
        password_hash: row.text("password_hash")?,
        password_version: row.int("password_version")?,
        version: row.int("version")?,
        enabled: row.flag("enabled")?,
    })
}

pub(super) fn grant(row: &impl Columns, now: Timestamp) -> Result<Grant, Error> {
    Ok(Grant {
        session_id: row.parsed("session_id")?,
        user: user(row)?,
        client_id: row.parsed("client_id")?,
        scope: row.parsed("scope")?,
        audience: row
            .text_or_null("audience")?
            .map(|text| services("audience", &text))
            .transpose()?,
        subject_version: row.small("subject_version")?,
        generation: row.small("generation")?,
        auth_time: row.time("auth_time")?,
        amr: row.text("amr")?,
        idle_expires_at: row.time("idle_expires_at")?,
        expires_at: row.time("expires_at")?,
        now,
    })
}

/// Besides a grant's: `revoked_at`, `revoke_reason`, `enabled`, `user_version`, `version_reason`, `in_window`,
/// `opened_at`, `used_at`, `reused`, `rotated_ip`, `rotated_user_agent`.
pub(super) fn found(row: &impl Columns, now: Timestamp) -> Result<Found, Error> {
    let grant = grant(row, now)?;
    let reason = |name| -> Result<Option<EndReason>, Error> {
        Ok(row.text_or_null(name)?.and_then(|text| EndReason::from_name(&text)))
    };
    let superseded = if !row.flag("enabled")? {
        Some(EndReason::Disabled)
    } else if row.small("user_version")? != grant.subject_version {
        Some(reason("version_reason")?.unwrap_or(EndReason::Logout))
    } else {
        None
    };
    // A reason that this program does not know is a reason all the same.
    let ended = match row.int_or_null("revoked_at")? {
        Some(_) => Some(reason("revoke_reason")?.unwrap_or(EndReason::Admin)),
        None => None,
    };
    Ok(Found {
        grant,
        ended,
        superseded,
        opened_at: row.time("opened_at")?,
        used_at: row.time("used_at")?,
        in_window: row.flag("in_window")?,
        reuse_ended_it: row.flag("reused")?,
        rotated_by: Requester {
            ip: row.text_or_null("rotated_ip")?,
            user_agent: row.text_or_null("rotated_user_agent")?,
        },
    })
}

pub(super) fn session_view(row: &impl Columns) -> Result<SessionView, Error> {
    Ok(SessionView {
        id: row.parsed("session_id")?,
        created_at: row.time("created_at")?,
        last_used_at: row.time("last_used_at")?,
        expires_at: row.time("expires_at")?,
        ip: row.text_or_null("ip")?,
        user_agent: row.text_or_null("user_agent")?,
        device: row.text_or_null("device")?,
        current: row.flag("current")?,
    })
}

/// What a row of `revocations` names; `None` where it is of a kind that this program does not know.
pub(super) fn revoked(row: &impl Columns) -> Result<Option<Revoked>, Error> {
    let Some(kind) = row.text_or_null("kind")? else { return Ok(None) };
    let named = match kind.as_str() {
        "session" => Revoked::Session { id: row.parsed("id")? },
        "token" => Revoked::Token { id: row.parsed("id")? },
        "key" => Revoked::Key { id: row.parsed("id")? },
        "subject" => {
            Revoked::Subject { id: row.parsed("id")?, min_version: row.small("min_version")? }
        }
        _ => return Ok(None),
    };
    Ok(Some(named))
}
