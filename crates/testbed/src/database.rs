//! A database for one test, gone afterwards.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr};
use tempfile::TempDir;
use uuid::Uuid;

use crate::link::Link;

/// The variable that names the Postgres server for tests.
pub const SERVER: &str = "LATCHKEY_TEST_POSTGRES";

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A database of its own on the server that [`SERVER`] names.
    Postgres,
    /// A file in a directory of its own.
    Sqlite,
}

/// A database that is dropped with the value.
#[derive(Debug)]
pub struct Database {
    /// As the auth-service takes it.
    pub url: String,
    kind: Kind,
    name: String,
    directory: Option<TempDir>,
}

impl Database {
    /// A new, empty database.
    ///
    /// # Panics
    /// When there is no server to make one on: a missing backend is a failure, not a skip.
    pub async fn create(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                Self::sqlite_in(tempfile::tempdir().expect("a temporary directory can be made"))
            }
            Kind::Postgres => Self::on_postgres("").await,
        }
    }

    /// A new, empty database on Postgres with another encoding than that of the server.
    pub async fn encoded(encoding: &str) -> Self {
        let like = format!("template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'");
        Self::on_postgres(&like).await
    }

    async fn on_postgres(options: &str) -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        administer(format!("create database {name} {options}")).await;
        let url = server().rsplit_once('/').map_or_else(
            || panic!("{SERVER} must be a URL with a database"),
            |(base, _)| format!("{base}/{name}"),
        );
        Self { url, kind: Kind::Postgres, name, directory: None }
    }

    /// A new, empty database on SQLite in a directory that is removed with it.
    #[must_use]
    pub fn sqlite_in(directory: TempDir) -> Self {
        let url = format!("sqlite:{}", directory.path().join("latchkey.db").display());
        Self { url, kind: Kind::Sqlite, name: String::new(), directory: Some(directory) }
    }

    /// What the server calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `host:port` of the Postgres server.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn server(&self) -> String {
        let authority = self.url.split('/').nth(2).expect("the URL names a server");
        let host = authority.rsplit('@').next().expect("a split has a part");
        if host.contains(':') { host.to_owned() } else { format!("{host}:5432") }
    }

    /// The URL by way of a link to [`server`](Self::server).
    #[must_use]
    pub fn url_by(&self, link: &Link) -> String {
        self.url.replace(&self.server(), &link.address())
    }

    /// One number from the database, by a query that both dialects understand.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn number(&self, sql: &'static str) -> i64 {
        match self.kind {
            Kind::Postgres => {
                let pool = self.postgres().await;
                let number = sqlx::query_scalar(sql).fetch_one(&pool).await;
                pool.close().await;
                number.expect("the query is right")
            }
            Kind::Sqlite => {
                let pool = self.sqlite().await;
                let number = sqlx::query_scalar(sql).fetch_one(&pool).await;
                pool.close().await;
                number.expect("the query is right")
            }
        }
    }

    /// Changes the database behind the service's back.
    ///
    /// # Panics
    /// When the statement fails.
    pub async fn execute(&self, sql: impl SqlSafeStr + Send) {
        match self.kind {
            Kind::Postgres => {
                let pool = self.postgres().await;
                pool.execute(sql).await.expect("the statement is right");
                pool.close().await;
            }
            Kind::Sqlite => {
                let pool = self.sqlite().await;
                pool.execute(sql).await.expect("the statement is right");
                pool.close().await;
            }
        }
    }

    /// Whether a Postgres server accepts connections to it within a second.
    pub async fn answers(&self) -> bool {
        let asking = async { PgConnection::connect(&self.url).await?.close().await };
        matches!(tokio::time::timeout(Duration::from_secs(1), asking).await, Ok(Ok(())))
    }

    /// A pool on a Postgres database.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn postgres(&self) -> PgPool {
        let options: PgConnectOptions = self.url.parse().expect("the URL is right");
        PgPool::connect_with(options).await.expect("the database answers")
    }

    /// A pool on a SQLite database.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn sqlite(&self) -> SqlitePool {
        let options: SqliteConnectOptions = self.url.parse().expect("the URL is right");
        let options = options.busy_timeout(Duration::from_secs(10));
        SqlitePool::connect_with(options).await.expect("the database opens")
    }

    /// Writes the log of a SQLite database into its file, as far as nobody reads it, and takes all room
    /// from it.
    ///
    /// # Panics
    /// When the database cannot be opened.
    pub async fn shorten_log(&self) {
        let pool = self.sqlite().await;
        let _ = pool.execute("pragma wal_checkpoint(truncate)").await;
        pool.close().await;
    }

    /// Makes the database unusable for whoever is connected and for whoever tries to be.
    ///
    /// # Panics
    /// When that fails.
    pub async fn take_away(&self) {
        match self.kind {
            Kind::Postgres => {
                administer(format!("alter database {} allow_connections false", self.name)).await;
                administer(format!(
                    "select pg_terminate_backend(pid) from pg_stat_activity \
                     where datname = '{}'",
                    self.name
                ))
                .await;
            }
            Kind::Sqlite => {
                self.execute("alter table sessions rename to sessions_away").await;
            }
        }
    }

    /// Undoes [`take_away`](Self::take_away).
    ///
    /// # Panics
    /// When that fails.
    pub async fn bring_back(&self) {
        match self.kind {
            Kind::Postgres => {
                administer(format!("alter database {} allow_connections true", self.name)).await;
            }
            Kind::Sqlite => {
                self.execute("alter table sessions_away rename to sessions").await;
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.directory.take());
        if self.kind == Kind::Postgres {
            let sql = format!("drop database if exists {} with (force)", self.name);
            // Drop cannot wait on the test's own runtime.
            let dropping = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime can be made").block_on(administer(sql));
            });
            let _ = dropping.join();
        }
    }
}

fn server() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| {
        panic!("{SERVER} names no Postgres server: run `cargo xtask test rust`, which starts one")
    })
}

async fn administer(sql: String) {
    let mut connection = PgConnection::connect(&server()).await.expect("the test server answers");
    connection.execute(AssertSqlSafe(sql)).await.expect("the test server obeys");
    let _ = connection.close().await;
}
