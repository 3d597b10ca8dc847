//! What every connection must be like, whatever the database, the role or a pooler between makes of
//! it: the SQL relies on it. With a stricter isolation a password change would not see the session of
//! a login in flight, and with another `search_path` the tables might be somebody else's.
//!
//! What can be set is sent at the start of the connection, where it outranks `alter database` and
//! `alter role`, and all of it is read back. A pooler between takes nothing at the start: it is set by the first
//! statement then, or, where the next transaction may be at another process of the server, by the first
//! of each transaction. Whether the server writes is only read: a server on
//! which somebody turned writing off, to move to another one, must not be written to all the same.

use sqlx::postgres::{PgConnectOptions, PgConnection, Postgres};
use sqlx::{
    AssertSqlSafe, Connection as _, Error, Executor, Row as _, SqlSafeStr as _, query_as, raw_sql,
};

use super::super::fault::OnlyReads;
use super::super::sending::{COMMIT, Sending};
use super::pooling::Pooling;

/// What may take how long at the most: a statement, waiting for a lock, doing nothing in between.
pub(super) type Limits = [&'static str; 3];

/// The server ends what takes too long; the client could only stop listening.
pub(super) const SERVING: Limits = ["5s", "3s", "5s"];
/// A migration may take long, and so may waiting for another one.
pub(super) const MIGRATING: Limits = ["0", "0", "0"];

/// As settings.
pub(super) fn limits([statement, lock, idle]: Limits) -> [(&'static str, &'static str); 3] {
    [
        ("statement_timeout", statement),
        ("lock_timeout", lock),
        ("idle_in_transaction_session_timeout", idle),
    ]
}

/// What the first connection tells of where it leads.
pub(super) struct Place {
    /// The schema of the tables, or the one in which they are to be made, quoted.
    schema: String,
    /// Which database of which run of which server.
    database: String,
    version: u32,
}

impl Place {
    /// Of the schemas of `search_path`, the first one with this program's tables, else the first one.
    pub(super) async fn find(connection: &mut PgConnection) -> Result<Self, Error> {
        // Behind a pooler nothing can be prepared yet.
        let sql = "select quote_ident(coalesce( \
                (select name from unnest(current_schemas(false)) with ordinality as p (name, place) \
                where to_regclass(format('%I._sqlx_migrations', name)) is not null \
                    and to_regclass(format('%I.revocations', name)) is not null \
                order by place limit 1), \
                current_schema())), \
             (select concat(pg_postmaster_start_time(), ' ', oid) from pg_database \
                where datname = current_database())";
        let row = raw_sql(sql).fetch_one(&mut *connection).await?;
        let (schema, database): (Option<String>, _) = (row.try_get(0)?, row.try_get(1)?);
        let none = || unfit("search_path names no schema that is there: set it by `alter role`");
        let version = connection.server_version_num().unwrap_or_default();
        Ok(Self { schema: schema.ok_or_else(none)?, database, version })
    }

    /// Whether both are the same tables.
    pub(super) fn is(&self, other: &Self) -> bool {
        (&self.schema, &self.database) == (&other.schema, &other.database)
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub(in crate::store) struct Pins {
    options: PgConnectOptions,
    /// What must be found, by the names of the settings.
    wanted: Vec<(&'static str, String)>,
    /// The first statement of a connection on which its start could set nothing.
    first: Option<String>,
    sending: Sending,
}

impl Pins {
    pub(super) fn new(
        options: &PgConnectOptions,
        pooling: Pooling,
        statement_cache: bool,
        place: &Place,
        limits: Limits,
    ) -> Self {
        let mut wanted = vec![
            // Temporary tables last: otherwise they hide others of the same name.
            ("search_path", format!("{},pg_temp", place.schema)),
            ("default_transaction_isolation", "read committed".to_owned()),
            // A policy that hides rows is an error then: a list of revocations must be whole.
            ("row_security", "off".to_owned()),
            ("standard_conforming_strings", "on".to_owned()),
        ];
        wanted.extend(self::limits(limits).map(|(name, value)| (name, value.to_owned())));
        // A server of before refuses a setting that it does not know.
        if place.version >= 14_00_00 {
            wanted.push(("idle_session_timeout", "0".to_owned()));
        }
        if place.version >= 17_00_00 {
            wanted.push(("transaction_timeout", "0".to_owned()));
        }
        let mut options = options.clone();
        let (mut first, mut sending) = (None, Sending::new(!statement_cache));
        match pooling {
            Pooling::None => {
                options = options.options(wanted.iter().map(|(name, value)| (*name, value)));
            }
            Pooling::Session => first = Some(set(&wanted, false)),
            Pooling::Transaction => sending = sending.in_transactions(&set(&wanted, true)),
        }
        if !statement_cache {
            options = options.statement_cache_capacity(0);
        }
        wanted.extend([
            ("transaction_isolation", "read committed".to_owned()),
            // sqlx sends these two.
            ("TimeZone", "UTC".to_owned()),
            ("client_encoding", "UTF8".to_owned()),
            // Only a superuser could set it. Otherwise triggers would not run.
            ("session_replication_role", "origin".to_owned()),
        ]);
        Self { options, wanted, first, sending }
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// A connection that is as it must be.
    pub(in crate::store) async fn connect(&self) -> Result<PgConnection, Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        self.settle(&mut connection).await?;
        self.begin(&mut connection).await?;
        self.check(&mut connection).await?;
        self.commit(&mut connection).await?;
        Ok(connection)
    }

    /// How statements are sent.
    pub(in crate::store) fn sending(&self) -> &Sending {
        &self.sending
    }

    /// Begins a transaction where every statement has to be in one.
    pub(in crate::store) async fn begin(&self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.sending.is_in_transactions() {
            connection.execute(self.sending.beginning()).await?;
        }
        Ok(())
    }

    /// Ends what [`begin`](Self::begin) began.
    pub(in crate::store) async fn commit(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), Error> {
        if self.sending.is_in_transactions() {
            connection.execute(COMMIT).await?;
        }
        Ok(())
    }

    /// Sets what the start of a connection could not.
    pub(super) async fn settle<'c>(
        &self,
        connection: impl Executor<'c, Database = Postgres>,
    ) -> Result<(), Error> {
        if let Some(first) = &self.first {
            connection.execute(AssertSqlSafe(first.clone()).into_sql_str()).await?;
        }
        Ok(())
    }

    /// An error in a sentence unless the connection is as it must be.
    pub(super) async fn check<'c>(
        &self,
        connection: impl Executor<'c, Database = Postgres>,
    ) -> Result<(), Error> {
        let others = ["transaction_read_only", "synchronous_commit", "server_encoding"];
        let names = self.wanted.iter().map(|(name, _)| *name).chain(others);
        let found: Vec<(String, String)> = query_as(
            "select s.name, coalesce(pg_catalog.current_setting(s.name, true), '') \
             from pg_catalog.unnest($1::text[]) as s (name) \
             union all \
             select 'standby', case when pg_catalog.pg_is_in_recovery() then 'yes' else 'no' end",
        )
        .bind(names.map(str::to_owned).collect::<Vec<_>>())
        .persistent(!self.sending.unnamed)
        .fetch_all(connection)
        .await?;
        let value = |name: &str| {
            let setting = found.iter().find(|(found, _)| found == name);
            setting.map_or("", |(_, value)| value.as_str())
        };
        if value("standby") != "no" {
            return Err(only_reads(
                "the server is a standby, and so is read-only; name the primary",
            ));
        }
        if value("transaction_read_only") != "off" {
            return Err(only_reads(
                "the server is read-only: default_transaction_read_only is on; turn it off, or name \
                 the server that took its place",
            ));
        }
        if value("synchronous_commit") == "off" {
            return Err(unfit("synchronous_commit is off: logouts would be lost; set it to on"));
        }
        let encoding = value("server_encoding");
        // SQL_ASCII takes every byte, and knows no letters: what PostgreSQL does with text is then wrong beyond ASCII.
        if encoding != "UTF8" {
            return Err(unfit(format!(
                "its encoding is {encoding}, which cannot hold every name: dump it with pg_dump, and restore it \
                 into one that was made with `create database … template template0 encoding 'UTF8'`"
            )));
        }
        for (name, wanted) in &self.wanted {
            let found = value(name);
            if found != wanted {
                return Err(unfit(format!(
                    "{name} is {found:?} on a new connection and must be {wanted:?}: reset it for the \
                     database and the role, and have a pooler between set nothing"
                )));
            }
        }
        Ok(())
    }
}

/// Sets what is wanted, until the transaction ends or for as long as the connection lives. An `e''` is read
/// the same whatever is set.
fn set(wanted: &[(&'static str, String)], in_transaction: bool) -> String {
    let one = |(name, value): &(&str, String)| {
        let value = value.replace('\\', r"\\").replace('\'', "''");
        format!("pg_catalog.set_config('{name}', e'{value}', {in_transaction})")
    };
    let all: Vec<_> = wanted.iter().map(one).collect();
    format!("select {}", all.join(", "))
}

fn only_reads(why: &'static str) -> Error {
    Error::Configuration(Box::new(OnlyReads(why)))
}

fn unfit(why: impl Into<String>) -> Error {
    Error::Configuration(why.into().into())
}
