//! The store on SQLite: one writer at a time, each write one statement or one `BEGIN IMMEDIATE`
//! transaction, committed to the disk before it is acknowledged (`synchronous=FULL`).
//!
//! Writes run with `execute` or `fetch_all`. `fetch_one` and `fetch_optional` stop at the first
//! row; the commit then happens when the statement is reset, and sqlx 0.9 drops its error.

use std::str::FromStr as _;
use std::time::Duration;

use claims::{SessionId, SessionView, Timestamp, UserId};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Sqlite as Db, Transaction, query, query_scalar};
use uuid::Uuid;
use verifier::Clock;

use super::records::{
    Caller, Credentials, EndReason, Grant, NewPassword, NewSession, NewUser, OtherSessions,
    Presented, Removal, StoredKey, UserRecord,
};
use super::revocations::RevocationReader;
use super::rotation::Found;
use super::rows::{self, credentials_columns, grant_columns, is_caller, live};
use super::{KEEP_ENDED_MS, OpenError, REVOCATION_TTL_MS, StoreError};
use crate::names::NameKey;

#[derive(Debug)]
pub(super) struct Sqlite {
    /// One connection: writers take turns here rather than by "database is locked".
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Clock,
}

/// The time at which a statement judges: this process's clock, `$4` or as named.
macro_rules! clock {
    ($now:literal) => {
        concat!("clock as (select ", $now, " as now)")
    };
}

impl Sqlite {
    pub(super) async fn open(url: &str, clock: Clock) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::from_str(url).map_err(OpenError::Connect)?;
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL may forget the last commits at a power cut, and a spent token would live again.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(5))
        };
        let writer = pool(1).connect_with(options.clone()).await.map_err(OpenError::Connect)?;
        let readers = pool(4).connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self { writer, readers, clock })
    }

    pub(super) async fn migrate(&self, migrator: &Migrator) -> Result<(), OpenError> {
        Ok(migrator.run(&self.writer).await?)
    }

    pub(super) async fn schema_version(&self) -> Result<Option<i64>, sqlx::Error> {
        query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(&self.readers)
            .await
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(super) fn revocation_reader(&self) -> RevocationReader {
        RevocationReader::on_sqlite(self.readers.clone(), self.clock.clone())
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        query("select 1").fetch_all(&self.readers).await?;
        Ok(())
    }

    pub(super) async fn create_user(&self, new: NewUser) -> Result<Option<UserRecord>, StoreError> {
        let (email, email_key) = new.email.unzip();
        let found = query(
            "insert into users \
                (id, username, username_key, email, email_key, password_hash, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing \
             returning id as user_id, username, email, roles, created_at as user_created_at",
        )
        .bind(Uuid::now_v7().to_string())
        .bind(new.username)
        .bind(new.username_key.as_str())
        .bind(email)
        .bind(email_key.as_ref().map(NameKey::as_str))
        .bind(new.password_hash)
        .bind(self.clock.now().0)
        .fetch_all(&self.writer)
        .await?;
        Ok(found.first().map(rows::user).transpose()?)
    }

    pub(super) async fn credentials(
        &self,
        key: &NameKey,
    ) -> Result<Option<Credentials>, StoreError> {
        let found = query(concat!(
            "select ",
            credentials_columns!(),
            " from users u where u.username_key = $1 or u.email_key = $1"
        ))
        .bind(key.as_str())
        .fetch_all(&self.readers)
        .await?;
        Ok(found.first().map(rows::credentials).transpose()?)
    }

    pub(super) async fn credentials_of(
        &self,
        user: UserId,
    ) -> Result<Option<Credentials>, StoreError> {
        let sql = concat!("select ", credentials_columns!(), " from users u where u.id = $1");
        let found = query(sql).bind(user.to_string()).fetch_all(&self.readers).await?;
        Ok(found.first().map(rows::credentials).transpose()?)
    }

    pub(super) async fn open_session(&self, new: NewSession) -> Result<Option<Grant>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let opened = query(
            "insert into sessions (id, user_id, client_id, scope, subject_version, \
                idle_expires_at, expires_at, auth_time, amr, device, user_agent, ip, created_at) \
             select $1, u.id, $5, $6, u.version, $13 + min($7, $8), $13 + $8, $13, $9, $10, $11, \
                $12, $13 \
             from users u \
             where u.id = $2 and u.enabled and u.version = $3 and u.password_version = $4",
        )
        .bind(new.id.to_string())
        .bind(new.credentials.user.to_string())
        .bind(new.credentials.version)
        .bind(new.credentials.password_version)
        .bind(new.client_id.as_str())
        .bind(new.scope.as_str())
        .bind(new.idle_ms)
        .bind(new.absolute_ms)
        .bind(new.amr)
        .bind(new.device)
        .bind(new.client.user_agent)
        .bind(new.client.ip)
        .bind(now.0)
        .execute(&mut *write)
        .await?;
        if opened.rows_affected() == 0 {
            return Ok(None);
        }
        if let Some(replaced) = new.replaces {
            end(&mut write, replaced, EndReason::Logout, now).await?;
        }
        let grant = grant_of(&mut write, new.id, now).await?;
        write.commit().await?;
        Ok(Some(grant))
    }

    pub(super) async fn advance_session(
        &self,
        presented: &Presented,
        from: u32,
    ) -> Result<Option<Grant>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let advanced = query(concat!(
            "with ",
            clock!("$1"),
            " update sessions as s set generation = $4 + 1, rotated_at = clock.now, \
                rotated_ip = $5, rotated_user_agent = $6, \
                idle_expires_at = min(clock.now + $7, s.expires_at) \
             from users u, clock \
             where s.id = $2 and s.client_id = $3 and s.generation = $9 and u.id = s.user_id and ",
            live!(),
            " and (s.rotated_at is null or $8 = 0 or clock.now - s.rotated_at >= $8)"
        ))
        .bind(now.0)
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(presented.client.ip.as_deref())
        .bind(presented.client.user_agent.as_deref())
        .bind(presented.idle_ms)
        .bind(presented.repeat_window_ms())
        .bind(i64::from(from))
        .execute(&mut *write)
        .await?;
        if advanced.rows_affected() == 0 {
            return Ok(None);
        }
        let grant = grant_of(&mut write, presented.session, now).await?;
        write.commit().await?;
        Ok(Some(grant))
    }

    pub(super) async fn look_at_session(
        &self,
        presented: &Presented,
    ) -> Result<Option<Found>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let found = query(concat!(
            "with ",
            clock!("$1"),
            " select s.revoke_reason, s.rotated_ip, s.rotated_user_agent, \
                u.version as user_version, u.version_reason, u.enabled, \
                case when clock.now - s.rotated_at < $5 then 1 else 0 end as in_window, \
                case when ",
            live!(),
            " and s.generation > $4 \
                and not (s.generation = $4 + 1 and clock.now - s.rotated_at < $5) \
                then 1 else 0 end as reused, ",
            grant_columns!(),
            " from sessions s join users u on u.id = s.user_id, clock \
             where s.id = $2 and s.client_id = $3"
        ))
        .bind(now.0)
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(presented.grace_ms)
        .fetch_all(&mut *write)
        .await?;
        let Some(row) = found.first() else { return Ok(None) };
        let found = rows::found(row, now)?;
        if found.reuse_ended_it {
            end(&mut write, presented.session, EndReason::Reuse, now).await?;
            write.commit().await?;
        }
        Ok(Some(found))
    }

    pub(super) async fn end_session(
        &self,
        id: SessionId,
        why: EndReason,
    ) -> Result<(), StoreError> {
        let (mut write, now) = self.begin().await?;
        end(&mut write, id, why, now).await?;
        Ok(write.commit().await?)
    }

    pub(super) async fn end_other_sessions(&self, caller: &Caller) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let Some(user) = caller_of(&mut write, caller, now).await? else { return Ok(false) };
        end_others(&mut write, caller.session, &user, EndReason::Logout, now).await?;
        write.commit().await?;
        Ok(true)
    }

    pub(super) async fn end_all_sessions(&self, caller: &Caller) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let Some(user) = caller_of(&mut write, caller, now).await? else { return Ok(false) };
        raise_version(&mut write, &user, EndReason::Logout, now).await?;
        write.commit().await?;
        Ok(true)
    }

    pub(super) async fn remove_session(
        &self,
        caller: &Caller,
        target: SessionId,
    ) -> Result<Removal, StoreError> {
        let (mut write, now) = self.begin().await?;
        let Some(user) = caller_of(&mut write, caller, now).await? else {
            return Ok(Removal::CallerEnded);
        };
        let owned: i64 =
            query_scalar("select count(*) from sessions where id = $1 and user_id = $2")
                .bind(target.to_string())
                .bind(&user)
                .fetch_one(&mut *write)
                .await?;
        if owned > 0 {
            end(&mut write, target, EndReason::Logout, now).await?;
            write.commit().await?;
        }
        Ok(Removal::from_counts(1, owned))
    }

    pub(super) async fn list_sessions(
        &self,
        caller: &Caller,
    ) -> Result<Option<Vec<SessionView>>, StoreError> {
        let found = query(concat!(
            "with ",
            clock!("$4"),
            ", caller as (select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select s.id as session_id, s.created_at, \
                coalesce(s.rotated_at, s.created_at) as last_used_at, s.expires_at, s.ip, \
                s.user_agent, s.device, case when s.id = $1 then 1 else 0 end as current \
             from sessions s, users u, caller, clock \
             where u.id = caller.id and s.user_id = u.id and ",
            live!(),
            " order by s.created_at desc, s.id limit 100"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.clock.now().0)
        .fetch_all(&self.readers)
        .await?;
        let views: Vec<_> = found.iter().map(rows::session_view).collect::<Result<_, _>>()?;
        Ok(if views.is_empty() { None } else { Some(views) })
    }

    pub(super) async fn user_of(&self, caller: &Caller) -> Result<Option<UserRecord>, StoreError> {
        let found = query(concat!(
            "with ",
            clock!("$4"),
            " select ",
            rows::user_columns!(),
            " from sessions s, users u, clock where ",
            is_caller!()
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.clock.now().0)
        .fetch_all(&self.readers)
        .await?;
        Ok(found.first().map(rows::user).transpose()?)
    }

    pub(super) async fn change_password(&self, change: &NewPassword) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let caller = Caller { session: change.session, generation: None, grace_ms: 0 };
        let user = change.user.to_string();
        if caller_of(&mut write, &caller, now).await?.as_ref() != Some(&user) {
            return Ok(false);
        }
        let changed = query(
            "update users set password_hash = $1, password_version = password_version + 1 \
             where id = $2 and password_version = $3",
        )
        .bind(&change.password_hash)
        .bind(&user)
        .bind(change.password_version)
        .execute(&mut *write)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        let why = EndReason::Password;
        match change.sessions {
            OtherSessions::All => raise_version(&mut write, &user, why, now).await?,
            OtherSessions::Others => {
                end_others(&mut write, change.session, &user, why, now).await?;
            }
            OtherSessions::None => {}
        }
        write.commit().await?;
        Ok(true)
    }

    pub(super) async fn set_enabled(
        &self,
        user: UserId,
        enabled: bool,
    ) -> Result<bool, StoreError> {
        let (mut write, now) = self.begin().await?;
        let changed = query("update users set enabled = $2 where id = $1 and enabled <> $2")
            .bind(user.to_string())
            .bind(enabled)
            .execute(&mut *write)
            .await?;
        if changed.rows_affected() > 0 {
            raise_version(&mut write, &user.to_string(), EndReason::Disabled, now).await?;
        }
        let users: i64 = query_scalar("select count(*) from users where id = $1")
            .bind(user.to_string())
            .fetch_one(&mut *write)
            .await?;
        write.commit().await?;
        Ok(users > 0)
    }

    pub(super) async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let sql = "select id, purpose, algorithm, state, sealed from keys order by created_at, id";
        let found = query(sql).fetch_all(&self.readers).await?;
        Ok(found.iter().map(rows::key).collect::<Result<_, _>>()?)
    }

    pub(super) async fn add_key(&self, key: &StoredKey) -> Result<(), StoreError> {
        query(
            "insert into keys (id, purpose, algorithm, state, sealed, created_at) \
             values ($1, $2, $3, 'active', $4, $5) on conflict do nothing",
        )
        .bind(key.id.as_str())
        .bind(key.purpose())
        .bind(key.algorithm_name())
        .bind(&key.sealed)
        .bind(self.clock.now().0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    pub(super) async fn purge_sessions(
        &self,
        after: &str,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let (mut write, now) = self.begin().await?;
        let next: Option<String> = query_scalar(
            "select max(id) from (select id from sessions where id > $1 order by id limit $2)",
        )
        .bind(after)
        .bind(batch)
        .fetch_one(&mut *write)
        .await?;
        query(
            "delete from sessions where id > $1 and id <= $2 \
             and min(coalesce(revoked_at, idle_expires_at), idle_expires_at) < $3",
        )
        .bind(after)
        .bind(&next)
        .bind(now.0 - KEEP_ENDED_MS)
        .execute(&mut *write)
        .await?;
        write.commit().await?;
        Ok(next)
    }

    pub(super) async fn purge_revocations(&self) -> Result<(), StoreError> {
        query("delete from revocations where expires_at < $1")
            .bind(self.clock.now().0)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Begins a write and reads the clock: after the lock, so that waiting does not age the time.
    async fn begin(&self) -> Result<(Transaction<'static, Db>, Timestamp), StoreError> {
        let write = self.writer.begin_with("begin immediate").await?;
        Ok((write, self.clock.now()))
    }
}

type Write = Transaction<'static, Db>;

async fn grant_of(write: &mut Write, id: SessionId, now: Timestamp) -> Result<Grant, sqlx::Error> {
    let row: SqliteRow = query(concat!(
        "select ",
        grant_columns!(),
        " from sessions s join users u on u.id = s.user_id where s.id = $1"
    ))
    .bind(id.to_string())
    .fetch_one(&mut **write)
    .await?;
    rows::grant(&row, now)
}

/// The user of a caller whose session is live.
async fn caller_of(
    write: &mut Write,
    caller: &Caller,
    now: Timestamp,
) -> Result<Option<String>, sqlx::Error> {
    query_scalar(concat!(
        "with ",
        clock!("$4"),
        " select s.user_id from sessions s, users u, clock where ",
        is_caller!()
    ))
    .bind(caller.session.to_string())
    .bind(caller.generation.map(i64::from))
    .bind(caller.grace_ms)
    .bind(now.0)
    .fetch_optional(&mut **write)
    .await
}

async fn end(
    write: &mut Write,
    id: SessionId,
    why: EndReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let ended = query(
        "update sessions set revoked_at = $2, revoke_reason = $3 \
         where id = $1 and revoked_at is null",
    )
    .bind(id.to_string())
    .bind(now.0)
    .bind(why.as_str())
    .execute(&mut **write)
    .await?;
    if ended.rows_affected() > 0 {
        announce(write, "session", &id.to_string(), None, now).await?;
    }
    Ok(())
}

async fn end_others(
    write: &mut Write,
    keep: SessionId,
    user: &str,
    why: EndReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let ended: Vec<String> = query_scalar(
        "update sessions set revoked_at = $3, revoke_reason = $4 \
         where user_id = $1 and id <> $2 and revoked_at is null returning id",
    )
    .bind(user)
    .bind(keep.to_string())
    .bind(now.0)
    .bind(why.as_str())
    .fetch_all(&mut **write)
    .await?;
    for id in ended {
        announce(write, "session", &id, None, now).await?;
    }
    Ok(())
}

/// Makes every session of the user one of a former version.
async fn raise_version(
    write: &mut Write,
    user: &str,
    why: EndReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let raised: Vec<i64> = query_scalar(
        "update users set version = version + 1, version_reason = $2 where id = $1 \
         returning version",
    )
    .bind(user)
    .bind(why.as_str())
    .fetch_all(&mut **write)
    .await?;
    for version in raised {
        announce(write, "subject", user, Some(version), now).await?;
    }
    Ok(())
}

async fn announce(
    write: &mut Write,
    kind: &str,
    id: &str,
    min_version: Option<i64>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    query(
        "insert into revocations (kind, id, min_version, created_at, expires_at) \
         values ($1, $2, $3, $4, $4 + $5)",
    )
    .bind(kind)
    .bind(id)
    .bind(min_version)
    .bind(now.0)
    .bind(REVOCATION_TTL_MS)
    .execute(&mut **write)
    .await?;
    Ok(())
}
