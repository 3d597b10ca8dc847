//! What Postgres says of itself.

use sqlx::postgres::PgSslMode;
use sqlx::query;

use super::super::StoreError;
use super::super::inspection::{Inspection, Protection};
use super::super::rows::Columns as _;
use super::Postgres;

impl Postgres {
    pub(in crate::store) async fn inspect(&self) -> Result<Inspection, StoreError> {
        let row = query(
            "select latchkey_now($1) as now, 'Postgres ' || current_setting('server_version') as server, \
                current_setting('synchronous_commit') as synchronous_commit, \
                current_setting('fsync') as fsync, \
                current_setting('full_page_writes') as full_page_writes, \
                (select concat_ws(', ', version, cipher) from pg_stat_ssl \
                    where pid = pg_backend_pid() and ssl) as tls, \
                case when pg_is_in_recovery() then 'standby' else 'primary' end as role, \
                (select cast(max(extract(epoch from clock_timestamp() - xact_start)) * 1000 as bigint) \
                    from pg_stat_activity \
                    where backend_xmin is not null and pid <> pg_backend_pid()) as oldest",
        )
        .bind(self.offset())
        .fetch_one(&mut *self.pool.acquire().await?)
        .await?;
        let setting = |name, good: fn(&str) -> bool| -> Result<_, sqlx::Error> {
            let value = row.text(name)?;
            let good = good(&value);
            Ok((name, value, good))
        };
        // Behind a pooler the server tells of the pooler's connection, so that the mode counts first.
        let clear = (!self.is_here).then_some(Protection::Clear);
        let tls = |how: Option<String>, checked| {
            Some(Protection::Tls { how: how.unwrap_or_else(|| "TLS".to_owned()), checked })
        };
        let protection = match (self.mode, row.text_or_null("tls")?) {
            (PgSslMode::Disable | PgSslMode::Allow, _) | (PgSslMode::Prefer, None) => clear,
            (PgSslMode::VerifyFull, how) => tls(how, true),
            (PgSslMode::Prefer | PgSslMode::Require | PgSslMode::VerifyCa, how) => tls(how, false),
        };
        Ok(Inspection {
            server: row.text("server")?,
            protection,
            now: row.time("now")?,
            settings: vec![
                setting("synchronous_commit", |value| value != "off")?,
                setting("fsync", |value| value == "on")?,
                setting("full_page_writes", |value| value == "on")?,
                setting("role", |value| value == "primary")?,
            ],
            oldest_snapshot_ms: Some(row.int_or_null("oldest")?.unwrap_or(0)),
        })
    }
}
