//! The store on Postgres: every write is one statement, and a transaction is never begun.
//!
//! Dropping a half-begun transaction poisons its connection in sqlx 0.9: later, unrelated writes
//! are then acknowledged and lost. A single statement has no half.

use std::str::FromStr as _;
use std::time::Duration;

use claims::{SessionId, SessionView, Timestamp, UserId};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{Connection as _, PgConnection, query, query_scalar};
use uuid::Uuid;
use verifier::Clock;

use super::records::{
    Caller, Credentials, EndReason, Grant, NewPassword, NewSession, NewUser, Presented, Removal,
    StoredKey, UserRecord,
};
use super::revocations::RevocationReader;
use super::rotation::Found;
use super::rows::{self, Columns as _, credentials_columns, grant_columns, is_caller, live};
use super::{KEEP_ENDED_MS, OpenError, REVOCATION_TTL_MS, StoreError};
use crate::names::NameKey;

#[derive(Debug)]
pub(super) struct Postgres {
    pool: PgPool,
    options: PgConnectOptions,
    clock: Clock,
}

/// The database's own time, with the offset that a test binds last. Replicas' clocks decide
/// nothing.
macro_rules! clock {
    ($offset:literal) => {
        concat!("clock as materialized (select latchkey_now(", $offset, ") as now)")
    };
}

impl Postgres {
    pub(super) async fn open(
        url: &str,
        max_connections: u32,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
        let options = options.application_name("latchkey");
        // The server ends what takes too long; the client could only stop listening.
        let bounded = options.clone().options([
            ("statement_timeout", "5s"),
            ("lock_timeout", "3s"),
            ("idle_in_transaction_session_timeout", "5s"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(3))
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    // A connection that lay idle may have died; one in use would have said so.
                    if meta.idle_for > Duration::from_millis(500) {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(bounded)
            .await
            .map_err(OpenError::Connect)?;
        let durable: String = query_scalar("show synchronous_commit")
            .fetch_one(&pool)
            .await
            .map_err(OpenError::Connect)?;
        if durable == "off" {
            return Err(OpenError::Forgetful);
        }
        Ok(Self { pool, options, clock })
    }

    /// On a connection without the time limits: a migration may take long.
    pub(super) async fn migrate(&self, migrator: &Migrator) -> Result<(), OpenError> {
        let connection = PgConnection::connect_with(&self.options).await;
        let mut connection = connection.map_err(OpenError::Connect)?;
        migrator.run(&mut connection).await?;
        connection.close().await.map_err(OpenError::Connect)
    }

    pub(super) async fn schema_version(&self) -> Result<Option<i64>, sqlx::Error> {
        query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(&self.pool)
            .await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) fn revocation_reader(&self) -> RevocationReader {
        RevocationReader::on_postgres(self.options.clone(), self.clock.clone())
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn create_user(&self, new: NewUser) -> Result<Option<UserRecord>, StoreError> {
        let (email, email_key) = new.email.unzip();
        let row = query(concat!(
            "insert into users as u \
                (id, username, username_key, email, email_key, password_hash, created_at) \
             values ($1, $2, $3, $4, $5, $6, latchkey_now($7)) on conflict do nothing returning ",
            rows::user_columns!()
        ))
        .bind(Uuid::now_v7())
        .bind(new.username)
        .bind(new.username_key.as_str())
        .bind(email)
        .bind(email_key.as_ref().map(NameKey::as_str))
        .bind(new.password_hash)
        .bind(self.offset())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(rows::user).transpose()?)
    }

    pub(super) async fn credentials(
        &self,
        key: &NameKey,
    ) -> Result<Option<Credentials>, StoreError> {
        // A name has no @ and an address has one, so at most one row is found.
        let row = query(concat!(
            "select ",
            credentials_columns!(),
            " from users u where u.username_key = $1 or u.email_key = $1"
        ))
        .bind(key.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(rows::credentials).transpose()?)
    }

    pub(super) async fn credentials_of(
        &self,
        user: UserId,
    ) -> Result<Option<Credentials>, StoreError> {
        let sql = concat!("select ", credentials_columns!(), " from users u where u.id = $1");
        let row = query(sql).bind(user.0).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(rows::credentials).transpose()?)
    }

    /// The share lock makes a login and a password change wait for each other; whichever is second
    /// sees the first.
    pub(super) async fn open_session(&self, new: NewSession) -> Result<Option<Grant>, StoreError> {
        let row = query(concat!(
            "with ",
            clock!("$1"),
            ", account as materialized ( \
                select u.* from users u \
                where u.id = $2 and u.enabled and u.version = $3 and u.password_version = $4 \
                for share), \
             opened as ( \
                insert into sessions as s (id, user_id, client_id, scope, subject_version, \
                    idle_expires_at, expires_at, auth_time, amr, device, user_agent, ip, created_at) \
                select $5, u.id, $6, $7, u.version, clock.now + least($8, $9), clock.now + $9, \
                    clock.now, $10, $11, $12, $13, clock.now from account u, clock \
                returning s.*), \
             replaced as ( \
                update sessions s set revoked_at = clock.now, revoke_reason = 'logout' \
                from clock, opened \
                where s.id = $14 and s.revoked_at is null returning s.id), \
             announced as ( \
                insert into revocations (kind, id, created_at, expires_at) \
                select 'session', replaced.id, clock.now, clock.now + $15 from replaced, clock) \
             select clock.now, ",
            grant_columns!(),
            " from opened s, account u, clock"
        ))
        .bind(self.offset())
        .bind(new.credentials.user.0)
        .bind(new.credentials.version)
        .bind(new.credentials.password_version)
        .bind(new.id.to_string())
        .bind(new.client_id.as_str())
        .bind(new.scope.as_str())
        .bind(new.idle_ms)
        .bind(new.absolute_ms)
        .bind(new.amr)
        .bind(new.device)
        .bind(new.client.user_agent)
        .bind(new.client.ip)
        .bind(new.replaces.map(|id| id.to_string()))
        .bind(REVOCATION_TTL_MS)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(granted).transpose()?)
    }

    pub(super) async fn advance_session(
        &self,
        presented: &Presented,
        from: u32,
    ) -> Result<Option<Grant>, StoreError> {
        let row = query(concat!(
            "with ",
            clock!("$1"),
            " update sessions s set generation = $4 + 1, rotated_at = clock.now, rotated_ip = $5, \
                rotated_user_agent = $6, idle_expires_at = least(clock.now + $7, s.expires_at) \
             from users u, clock \
             where s.id = $2 and s.client_id = $3 and s.generation = $9 and u.id = s.user_id and ",
            live!(),
            " and (s.rotated_at is null or $8 = 0 or clock.now - s.rotated_at >= $8) \
             returning clock.now, ",
            grant_columns!()
        ))
        .bind(self.offset())
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(presented.client.ip.as_deref())
        .bind(presented.client.user_agent.as_deref())
        .bind(presented.idle_ms)
        .bind(presented.repeat_window_ms())
        .bind(i64::from(from))
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(granted).transpose()?)
    }

    pub(super) async fn look_at_session(
        &self,
        presented: &Presented,
    ) -> Result<Option<Found>, StoreError> {
        let row = query(concat!(
            "with ",
            clock!("$1"),
            ", reused as ( \
                update sessions s set revoked_at = clock.now, revoke_reason = 'reuse' \
                from users u, clock \
                where s.id = $2 and s.client_id = $3 and u.id = s.user_id and ",
            live!(),
            " and s.generation > $4 \
                and not (s.generation = $4 + 1 and clock.now - s.rotated_at < $5) \
                returning s.id), \
             announced as ( \
                insert into revocations (kind, id, created_at, expires_at) \
                select 'session', reused.id, clock.now, clock.now + $6 from reused, clock) \
             select clock.now, s.revoke_reason, s.rotated_ip, s.rotated_user_agent, \
                cast(u.version as bigint) as user_version, u.version_reason, \
                cast(case when u.enabled then 1 else 0 end as bigint) as enabled, \
                cast(case when clock.now - s.rotated_at < $5 then 1 else 0 end as bigint) \
                    as in_window, \
                (select count(*) from reused) as reused, ",
            grant_columns!(),
            " from sessions s join users u on u.id = s.user_id, clock \
             where s.id = $2 and s.client_id = $3"
        ))
        .bind(self.offset())
        .bind(presented.session.to_string())
        .bind(presented.client_id.as_str())
        .bind(i64::from(presented.generation))
        .bind(presented.grace_ms)
        .bind(REVOCATION_TTL_MS)
        .fetch_optional(&self.pool)
        .await?;
        let found = |row: &PgRow| rows::found(row, row.time("now")?);
        Ok(row.as_ref().map(found).transpose()?)
    }

    pub(super) async fn end_session(
        &self,
        id: SessionId,
        why: EndReason,
    ) -> Result<(), StoreError> {
        query(concat!(
            "with ",
            clock!("$1"),
            ", ended as ( \
                update sessions s set revoked_at = clock.now, revoke_reason = $3 from clock \
                where s.id = $2 and s.revoked_at is null returning s.id) \
             insert into revocations (kind, id, created_at, expires_at) \
             select 'session', ended.id, clock.now, clock.now + $4 from ended, clock"
        ))
        .bind(self.offset())
        .bind(id.to_string())
        .bind(why.as_str())
        .bind(REVOCATION_TTL_MS)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(super) async fn end_other_sessions(&self, caller: &Caller) -> Result<bool, StoreError> {
        let callers: i64 = query_scalar(concat!(
            "with ",
            clock!("$4"),
            ", caller as materialized (select s.user_id, s.subject_version \
                from sessions s, users u, clock where ",
            is_caller!(),
            "), ended as ( \
                update sessions s set revoked_at = clock.now, revoke_reason = 'logout' \
                from caller, clock \
                where s.user_id = caller.user_id and s.id <> $1 and s.revoked_at is null \
                returning s.id), \
             announced as ( \
                insert into revocations (kind, id, created_at, expires_at) \
                select 'session', ended.id, clock.now, clock.now + $5 from ended, clock) \
             select count(*) from caller"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.offset())
        .bind(REVOCATION_TTL_MS)
        .fetch_one(&self.pool)
        .await?;
        Ok(callers > 0)
    }

    pub(super) async fn end_all_sessions(&self, caller: &Caller) -> Result<bool, StoreError> {
        let raised: i64 = query_scalar(concat!(
            "with ",
            clock!("$4"),
            ", raised as ( \
                update users u set version = u.version + 1, version_reason = 'logout' \
                from sessions s, clock where ",
            is_caller!(),
            " returning u.id, u.version), \
             announced as ( \
                insert into revocations (kind, id, min_version, created_at, expires_at) \
                select 'subject', raised.id::text, raised.version, clock.now, clock.now + $5 \
                from raised, clock) \
             select count(*) from raised"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.offset())
        .bind(REVOCATION_TTL_MS)
        .fetch_one(&self.pool)
        .await?;
        Ok(raised > 0)
    }

    pub(super) async fn remove_session(
        &self,
        caller: &Caller,
        target: SessionId,
    ) -> Result<Removal, StoreError> {
        let row = query(concat!(
            "with ",
            clock!("$4"),
            ", caller as materialized (select s.user_id from sessions s, users u, clock where ",
            is_caller!(),
            "), ended as ( \
                update sessions s set revoked_at = clock.now, revoke_reason = 'logout' \
                from caller, clock \
                where s.id = $6 and s.user_id = caller.user_id and s.revoked_at is null \
                returning s.id), \
             announced as ( \
                insert into revocations (kind, id, created_at, expires_at) \
                select 'session', ended.id, clock.now, clock.now + $5 from ended, clock) \
             select (select count(*) from caller) as callers, \
                (select count(*) from sessions s, caller \
                 where s.id = $6 and s.user_id = caller.user_id) as targets"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.offset())
        .bind(REVOCATION_TTL_MS)
        .bind(target.to_string())
        .fetch_one(&self.pool)
        .await?;
        Ok(Removal::from_counts(row.int("callers")?, row.int("targets")?))
    }

    pub(super) async fn list_sessions(
        &self,
        caller: &Caller,
    ) -> Result<Option<Vec<SessionView>>, StoreError> {
        let found = query(concat!(
            "with ",
            clock!("$4"),
            ", caller as materialized (select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select s.id as session_id, s.created_at, \
                coalesce(s.rotated_at, s.created_at) as last_used_at, s.expires_at, s.ip, \
                s.user_agent, s.device, \
                cast(case when s.id = $1 then 1 else 0 end as bigint) as current \
             from sessions s, users u, caller, clock \
             where u.id = caller.id and s.user_id = u.id and ",
            live!(),
            " order by s.created_at desc, s.id limit 100"
        ))
        .bind(caller.session.to_string())
        .bind(caller.generation.map(i64::from))
        .bind(caller.grace_ms)
        .bind(self.offset())
        .fetch_all(&self.pool)
        .await?;
        // The caller's own session is always among them while it is live.
        let views: Vec<_> = found.iter().map(rows::session_view).collect::<Result<_, _>>()?;
        Ok(if views.is_empty() { None } else { Some(views) })
    }

    pub(super) async fn user_of(&self, caller: &Caller) -> Result<Option<UserRecord>, StoreError> {
        let row = query(concat!(
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
        .bind(self.offset())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(rows::user).transpose()?)
    }

    pub(super) async fn change_password(&self, change: &NewPassword) -> Result<bool, StoreError> {
        let sql = "select latchkey_change_password($1, $2, $3::integer, $4, $5, $6, $7)";
        let changed = query_scalar(sql)
            .bind(change.session.to_string())
            .bind(change.user.0)
            .bind(change.password_version)
            .bind(&change.password_hash)
            .bind(change.sessions.as_str())
            .bind(self.offset())
            .bind(REVOCATION_TTL_MS)
            .fetch_one(&self.pool)
            .await?;
        Ok(changed)
    }

    pub(super) async fn set_enabled(
        &self,
        user: UserId,
        enabled: bool,
    ) -> Result<bool, StoreError> {
        let users: i64 = query_scalar(concat!(
            "with ",
            clock!("$1"),
            ", changed as ( \
                update users u set enabled = $3, version = u.version + 1, \
                    version_reason = 'disabled' \
                where u.id = $2 and u.enabled <> $3 returning u.id, u.version), \
             announced as ( \
                insert into revocations (kind, id, min_version, created_at, expires_at) \
                select 'subject', changed.id::text, changed.version, clock.now, clock.now + $4 \
                from changed, clock) \
             select count(*) from users where id = $2"
        ))
        .bind(self.offset())
        .bind(user.0)
        .bind(enabled)
        .bind(REVOCATION_TTL_MS)
        .fetch_one(&self.pool)
        .await?;
        Ok(users > 0)
    }

    pub(super) async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let sql = "select id, purpose, algorithm, state, sealed from keys order by created_at, id";
        let found = query(sql).fetch_all(&self.pool).await?;
        Ok(found.iter().map(rows::key).collect::<Result<_, _>>()?)
    }

    pub(super) async fn add_key(&self, key: &StoredKey) -> Result<(), StoreError> {
        query(
            "insert into keys (id, purpose, algorithm, state, sealed, created_at) \
             values ($1, $2, $3, 'active', $4, latchkey_now($5)) on conflict do nothing",
        )
        .bind(key.id.as_str())
        .bind(key.purpose())
        .bind(key.algorithm_name())
        .bind(&key.sealed)
        .bind(self.offset())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(super) async fn purge_sessions(
        &self,
        after: &str,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let next = query_scalar(concat!(
            "with ",
            clock!("$1"),
            ", batch as materialized ( \
                select id from sessions where id > $2 order by id limit $3), \
             gone as ( \
                delete from sessions s using batch, clock \
                where s.id = batch.id and \
                    least(coalesce(s.revoked_at, s.idle_expires_at), s.idle_expires_at) \
                    < clock.now - $4) \
             select max(id) from batch"
        ))
        .bind(self.offset())
        .bind(after)
        .bind(batch)
        .bind(KEEP_ENDED_MS)
        .fetch_one(&self.pool)
        .await?;
        Ok(next)
    }

    pub(super) async fn purge_revocations(&self) -> Result<(), StoreError> {
        query("delete from revocations where expires_at < latchkey_now($1)")
            .bind(self.offset())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    fn offset(&self) -> i64 {
        self.clock.offset_millis()
    }
}

fn granted(row: &PgRow) -> Result<Grant, sqlx::Error> {
    let now: Timestamp = row.time("now")?;
    rows::grant(row, now)
}
