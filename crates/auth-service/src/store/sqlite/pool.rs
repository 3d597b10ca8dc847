//! Connections to SQLite. None serves again on which anything went wrong.
//!
//! On a full disk, an input error, an interrupt or without memory SQLite itself rolls back the
//! transaction, and sqlx goes on counting it as open. A connection in doubt is therefore closed, and
//! it keeps its place until it is: the next one finds no transaction and no lock of it.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Sqlite, query_scalar};

use super::super::PoolUsage;
use super::super::sending::Sending;
use super::super::watched::Watched;

/// Connections to one file.
#[derive(Debug, Clone)]
pub(in crate::store) struct Pool(SqlitePool);

impl Pool {
    /// A pool that has connected once.
    pub(super) async fn connect(
        most: u32,
        options: SqliteConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self(settings(most).connect_with(options).await?))
    }

    /// A pool that connects when it is first used.
    pub(super) fn connect_lazy(most: u32, options: SqliteConnectOptions) -> Self {
        Self(settings(most).connect_lazy_with(options))
    }

    /// A connection for single statements, waited for at most five seconds. A new one is refused
    /// unless it is as it must be.
    pub(in crate::store) async fn acquire(&self) -> Result<Watched<Sqlite>, sqlx::Error> {
        let mut connection = Watched::new(self.0.acquire().await?, Sending::default());
        if connection.is_new() {
            let checked = check(&mut connection).await;
            checked.inspect_err(|_| connection.condemn())?;
        }
        Ok(connection)
    }

    /// How busy it is, under the name that it has in the metrics.
    pub(super) fn usage(&self, name: &'static str) -> PoolUsage {
        PoolUsage::of(name, &self.0)
    }

    /// Waits for the connections that are lent, and closes all.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

/// What sqlx asked for when it connected, read back: a file system may not be up to it.
async fn check(connection: &mut Watched<Sqlite>) -> Result<(), sqlx::Error> {
    let journal: String = query_scalar("pragma journal_mode").fetch_one(&mut *connection).await?;
    let synchronous: i64 = query_scalar("pragma synchronous").fetch_one(&mut *connection).await?;
    let keys: i64 = query_scalar("pragma foreign_keys").fetch_one(&mut *connection).await?;
    let why = match (journal.as_str(), synchronous, keys) {
        ("wal", 2.., 1) => return Ok(()),
        ("wal", 2.., _) => "foreign_keys are off".to_owned(),
        ("wal", ..) => format!("synchronous is {synchronous}, and must be 2 (FULL)"),
        _ => {
            format!("journal_mode is {journal}, and must be wal; use a file system of this machine")
        }
    };
    Err(sqlx::Error::Configuration(why.into()))
}

fn settings(most: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(most).acquire_timeout(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use sqlx::query;
    use sqlx::sqlite::SqliteJournalMode;
    use tempfile::TempDir;
    use verifier::Clock;

    use super::super::super::Backend;
    use super::super::super::postgres::Lane;
    use super::super::super::transaction::Tx;
    use super::*;

    /// A writer on a file of its own. Statements are interrupted while `interrupt`.
    struct Scene {
        backend: Backend,
        pool: Pool,
        interrupt: Arc<AtomicBool>,
        _directory: TempDir,
    }

    impl Scene {
        async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let options = SqliteConnectOptions::new()
                .filename(directory.path().join("test.db"))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .foreign_keys(true);
            let interrupt = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&interrupt);
            let settings = settings(1).after_connect(move |connection, _| {
                let flag = Arc::clone(&flag);
                Box::pin(async move {
                    let mut handle = connection.lock_handle().await?;
                    handle.set_progress_handler(1, move || !flag.load(Ordering::Relaxed));
                    Ok(())
                })
            });
            let pool = Pool(settings.connect_with(options).await.unwrap());
            let mut connection = pool.acquire().await.unwrap();
            for sql in [
                "create table rows (filler blob not null)",
                "create table parents (id integer primary key)",
                "create table children (parent integer references parents (id) \
                 deferrable initially deferred)",
            ] {
                query(sql).execute(&mut connection).await.unwrap();
            }
            drop(connection);
            let (writer, readers, clock) = (pool.clone(), pool.clone(), Clock::default());
            let backend =
                Backend::Sqlite(Arc::new(super::super::Sqlite { writer, readers, clock }));
            Self { backend, pool, interrupt, _directory: directory }
        }

        async fn begin(&self) -> Tx {
            Tx::begin(&self.backend, Lane::Main).await.unwrap()
        }

        /// Whatever went wrong before: a write is done, and is the only one that was.
        async fn serves(&self) {
            let mut write = self.begin().await;
            add(&mut write).await.unwrap();
            write.commit().await.unwrap();
            let mut connection = self.pool.acquire().await.unwrap();
            let rows = query_scalar("select count(*) from rows");
            let rows: i64 = rows.fetch_one(&mut connection).await.unwrap();
            assert_eq!(rows, 1);
            let children = query_scalar("select count(*) from children");
            let children: i64 = children.fetch_one(&mut connection).await.unwrap();
            assert_eq!(children, 0);
        }
    }

    async fn add(write: &mut Tx) -> Result<(), sqlx::Error> {
        let sql = "insert into rows (filler) values (randomblob(20000))";
        write.execute(sql, &[]).await.map(|_| ())
    }

    fn code(error: &sqlx::Error) -> String {
        error.as_database_error().unwrap().code().unwrap().into_owned()
    }

    #[tokio::test]
    async fn a_write_that_meets_a_full_disk_leaves_nothing_behind() {
        let scene = Scene::new().await;
        let mut write = scene.begin().await;
        write.fetch_all("pragma max_page_count = 8", &[]).await.unwrap();
        let error = loop {
            if let Err(error) = add(&mut write).await {
                break error;
            }
        };
        assert_eq!(code(&error), "13", "SQLITE_FULL");
        write.commit().await.unwrap_err();
        scene.serves().await;
    }

    #[tokio::test]
    async fn a_single_statement_that_meets_a_full_disk_leaves_nothing_behind() {
        let scene = Scene::new().await;
        let mut connection = scene.pool.acquire().await.unwrap();
        query("pragma max_page_count = 8").execute(&mut connection).await.unwrap();
        let sql = "insert into rows (filler) values (randomblob(50000))";
        let error = query(sql).execute(&mut connection).await.unwrap_err();
        assert_eq!(code(&error), "13", "SQLITE_FULL");
        drop(connection);
        scene.serves().await;
    }

    #[tokio::test]
    async fn a_write_that_is_interrupted_leaves_nothing_behind() {
        let scene = Scene::new().await;
        let mut write = scene.begin().await;
        add(&mut write).await.unwrap();
        scene.interrupt.store(true, Ordering::Relaxed);
        let error = add(&mut write).await.unwrap_err();
        assert_eq!(code(&error), "9", "SQLITE_INTERRUPT");
        scene.interrupt.store(false, Ordering::Relaxed);
        drop(write);
        scene.serves().await;
    }

    #[tokio::test]
    async fn a_read_that_is_interrupted_leaves_nothing_behind() {
        let scene = Scene::new().await;
        let mut connection = scene.pool.acquire().await.unwrap();
        scene.interrupt.store(true, Ordering::Relaxed);
        query("select * from rows").fetch_all(&mut connection).await.unwrap_err();
        assert!(connection.damage().is_some());
        scene.interrupt.store(false, Ordering::Relaxed);
        drop(connection);
        scene.serves().await;
    }

    #[tokio::test]
    async fn a_commit_that_is_refused_leaves_nothing_behind() {
        let scene = Scene::new().await;
        let mut write = scene.begin().await;
        write.execute("insert into children values (1)", &[]).await.unwrap();
        let error = write.commit().await.unwrap_err();
        assert!(error.as_database_error().unwrap().is_foreign_key_violation());
        scene.serves().await;
    }

    #[tokio::test]
    async fn a_write_that_nobody_wants_any_more_leaves_nothing_behind() {
        let scene = Scene::new().await;
        for _ in 0..3 {
            let mut write = scene.begin().await;
            add(&mut write).await.unwrap();
        }
        let write = scene.begin().await;
        drop(write);
        scene.serves().await;
    }

    /// Its statement goes on for a while, and its connection keeps the only place until it ends.
    #[tokio::test]
    async fn a_write_that_is_cut_off_leaves_nothing_behind() {
        let scene = Scene::new().await;
        let mut write = scene.begin().await;
        add(&mut write).await.unwrap();
        let long = "with recursive n(i) as (select 1 union all select i + 1 from n limit 300000) \
             insert into rows select zeroblob(1) from n where i > 299999";
        let cut = tokio::time::timeout(Duration::ZERO, write.execute(long, &[])).await;
        assert!(cut.is_err());
        drop(write);
        scene.serves().await;
    }

    /// What an orderly refusal says of the connection: nothing.
    #[tokio::test]
    async fn a_constraint_costs_no_connection() {
        let scene = Scene::new().await;
        let mut connection = scene.pool.acquire().await.unwrap();
        query("insert into rows values (null)").execute(&mut connection).await.unwrap_err();
        assert_eq!(connection.damage(), None);
    }
}
