//! Whatever a transaction does not live to see, nothing of it stays: on either database, cancelled at
//! any moment, and also where the server ends it. What is acknowledged afterwards is there.

use std::env;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use secrecy::SecretString;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::task::yield_now;
use uuid::Uuid;

use sqlx::AssertSqlSafe;

use super::*;
use crate::config;
use crate::store::Store;
use crate::store::rows::Columns as _;

/// A store on a database of its own, with one connection that is not for logins.
struct Scene {
    store: Store,
    postgres: Option<String>,
    _directory: TempDir,
}

impl Scene {
    async fn on_postgres() -> Self {
        let server = env::var("LATCHKEY_TEST_POSTGRES")
            .expect("LATCHKEY_TEST_POSTGRES names a server: `cargo xtask test rust` starts one");
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut administrator = PgConnection::connect(&server).await.unwrap();
        administrator.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        Self::on(format!("{base}/{name}"), Some(name)).await
    }

    async fn on_sqlite() -> Self {
        Self::on(String::new(), None).await
    }

    async fn on(url: String, postgres: Option<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("latchkey.db");
        let url = if url.is_empty() { format!("sqlite:{}", file.display()) } else { url };
        let url = SecretString::from(url);
        let settings = config::Database {
            url,
            direct_url: String::new().into(),
            statement_cache: true,
            tls: config::Tls::Unsaid,
            max_connections: 2,
            migrate_on_start: true,
        };
        let store = Store::open(&settings, Clock::default()).await.unwrap();
        let scene = Self { store, postgres, _directory: directory };
        let made = "create table notes (id text primary key, at bigint not null)";
        scene.store.write("test", Lane::Main, (), made, Vec::new()).await.unwrap();
        scene
    }

    /// A write that is acknowledged is there, and nothing else is.
    async fn keeps_what_it_acknowledges(&self, round: &str) {
        let add = "insert into notes (id, at) values ($1, {now})";
        let values = vec![round.into()];
        assert_eq!(self.store.write("test", Lane::Main, (), add, values).await.unwrap(), 1);
        assert_eq!(self.seen_elsewhere(round).await, 1, "{round}: it is lost");
        let two =
            self.store.transaction("test", Lane::Main, (), move |tx| two_notes(tx, "kept").boxed());
        two.await.unwrap();
        for half in ["kept 1", "kept 2"] {
            assert_eq!(self.seen_elsewhere(half).await, 1, "{round}: {half} is lost");
        }
        let clear = "delete from notes where id like $1";
        self.store.write("test", Lane::Main, (), clear, vec!["kept %".into()]).await.unwrap();
    }

    /// How many notes of the name others see at this moment.
    async fn seen_elsewhere(&self, name: &str) -> i64 {
        let sql = "select count(*) as notes from notes where id = $1";
        let mut tx = match &self.store.backend {
            // The lane of the logins has a connection of its own, and readers are others than writers.
            backend @ Backend::Postgres(_) => Tx::to_read(backend, Lane::Logins).await.unwrap(),
            backend @ Backend::Sqlite(_) => Tx::to_read(backend, Lane::Main).await.unwrap(),
        };
        tx.fetch_all(sql, &[name.into()]).await.unwrap()[0].int("notes").unwrap()
    }

    /// What an administrator of the server is told.
    async fn ask_server(&self, sql: &'static str) -> i64 {
        let mut tx = Tx::to_read(&self.store.backend, Lane::Logins).await.unwrap();
        tx.fetch_all(sql, &[]).await.unwrap()[0].int("answer").unwrap()
    }

    /// Soon no connection of this database is in a transaction.
    async fn has_no_open_transaction(&self) {
        if self.postgres.is_none() {
            return;
        }
        let open = "select count(*) as answer from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid() \
               and state like 'idle in transaction%'";
        for _ in 0..400 {
            if self.ask_server(open).await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("a connection stays in a transaction");
    }

    async fn end(self) {
        self.store.close().await;
        if let Some(name) = self.postgres {
            let server = env::var("LATCHKEY_TEST_POSTGRES").unwrap();
            let mut administrator = PgConnection::connect(&server).await.unwrap();
            let gone = format!("drop database {name} with (force)");
            administrator.execute(AssertSqlSafe(gone)).await.unwrap();
        }
    }
}

/// It also waits between its statements, where it can be dropped on any machine. On a busy one each answer of the
/// database may be there before it is waited for.
async fn two_notes(tx: &mut Tx, name: &'static str) -> Result<(), StoreError> {
    let add = "insert into notes (id, at) values ($1, {now})";
    tx.execute(add, &[format!("{name} 1").into()]).await?;
    yield_now().await;
    tx.fetch_all("select 1", &[]).await?;
    yield_now().await;
    tx.execute(add, &[format!("{name} 2").into()]).await?;
    yield_now().await;
    Ok(())
}

/// Polls `work` so many times, and then drops it where it waits; `true` where it came to its end.
async fn cut_off(work: impl Future<Output = ()>, after: usize) -> bool {
    let (mut work, mut polls) = (pin!(work), 0);
    poll_fn(|context| {
        if polls == after {
            return Poll::Ready(false);
        }
        polls += 1;
        work.as_mut().poll(context).map(|()| true)
    })
    .await
}

/// Drops a transaction at each of the moments at which it waits, from the first to the last.
async fn a_transaction_dropped_at_each_await(scene: Scene) {
    let mut after = 0;
    loop {
        let backend = scene.store.backend.clone();
        let work = async {
            let work = in_transaction(&backend, Lane::Main, |tx| two_notes(tx, "cut").boxed());
            work.await.unwrap();
        };
        let ended = cut_off(work, after).await;
        scene.keeps_what_it_acknowledges(&format!("round {after}")).await;
        // Both or none: it was cut off before the commit, or the commit was under way.
        let halves = [scene.seen_elsewhere("cut 1").await, scene.seen_elsewhere("cut 2").await];
        assert!(halves == [0, 0] || halves == [1, 1], "cut off after {after}: {halves:?}");
        scene.has_no_open_transaction().await;
        if ended {
            assert_eq!(halves, [1, 1]);
            break;
        }
        let clear = "delete from notes where id like $1";
        scene.store.write("test", Lane::Main, (), clear, vec!["cut %".into()]).await.unwrap();
        after += 1;
    }
    // As a rule also while each of five statements is under way.
    assert!(after > 3, "it was cut off {after} times");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_dropped_at_each_await_leaves_nothing_on_postgres() {
    a_transaction_dropped_at_each_await(Scene::on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_dropped_at_each_await_leaves_nothing_on_sqlite() {
    a_transaction_dropped_at_each_await(Scene::on_sqlite().await).await;
}

/// It waits for nothing of the database's: no statement is under way that would give it away.
async fn a_transaction_dropped_between_statements(scene: Scene) {
    let backend = scene.store.backend.clone();
    let work = in_transaction(&backend, Lane::Main, |tx| {
        async move {
            two_notes(tx, "cut").await?;
            std::future::pending::<Result<(), StoreError>>().await
        }
        .boxed()
    });
    assert!(tokio::time::timeout(Duration::from_secs(2), work).await.is_err());
    scene.keeps_what_it_acknowledges("after it").await;
    // An error of the caller's own, which leaves the connection in perfect order but for that.
    let work = in_transaction(&backend, Lane::Main, |tx| {
        async move {
            two_notes(tx, "cut").await?;
            Err::<(), _>(StoreError::Contended)
        }
        .boxed()
    });
    assert!(matches!(work.await, Err(StoreError::Contended)));
    scene.keeps_what_it_acknowledges("after an error").await;
    // A panic.
    let store = scene.store.clone();
    let panicked = tokio::spawn(async move {
        let work = in_transaction(&store.backend, Lane::Main, |tx| {
            async move {
                two_notes(tx, "cut").await?;
                panic!("on purpose")
            }
            .boxed()
        });
        work.await.map(|((), _)| ())
    });
    assert!(panicked.await.unwrap_err().is_panic());
    scene.keeps_what_it_acknowledges("after a panic").await;
    // A statement that failed, and a caller who does not mind.
    let work = in_transaction(&backend, Lane::Main, |tx| {
        async move {
            two_notes(tx, "cut").await?;
            let again = tx.execute("insert into notes (id, at) values ('cut 1', 1)", &[]).await;
            assert!(again.is_err());
            Ok(())
        }
        .boxed()
    });
    assert!(work.await.is_err(), "Postgres would undo it, and acknowledge it all the same");
    scene.keeps_what_it_acknowledges("after a refusal").await;
    assert_eq!(scene.seen_elsewhere("cut 1").await, 0);
    scene.has_no_open_transaction().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_given_up_between_statements_leaves_nothing_on_postgres() {
    a_transaction_dropped_between_statements(Scene::on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_given_up_between_statements_leaves_nothing_on_sqlite() {
    a_transaction_dropped_between_statements(Scene::on_sqlite().await).await;
}

/// A commit that takes a while: checks that were put off until then are made in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_aborted_while_it_commits_did_all_or_nothing() {
    let scene = Scene::on_postgres().await;
    for sql in [
        "create function slow() returns trigger language plpgsql as $$ \
         begin if new.id like 'cut%' then perform pg_sleep(0.3); end if; return null; end $$",
        "create constraint trigger slow after insert on notes \
         deferrable initially deferred for each row execute function slow()",
    ] {
        scene.store.write("test", Lane::Main, (), sql, Vec::new()).await.unwrap();
    }
    let backend = scene.store.backend.clone();
    let task = tokio::spawn(async move {
        let work = in_transaction(&backend, Lane::Main, |tx| two_notes(tx, "cut").boxed());
        work.await.map(|((), _)| ())
    });
    let committing = "select count(*) as answer from pg_stat_activity \
         where datname = current_database() and state = 'active' and query = 'commit'";
    while scene.ask_server(committing).await == 0 {
        assert!(!task.is_finished(), "it commits for more than half a second");
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    scene.keeps_what_it_acknowledges("after it").await;
    // The server goes on with what it was told before it notices that nobody listens.
    while scene.ask_server(committing).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.seen_elsewhere("cut 1").await, scene.seen_elsewhere("cut 2").await);
    scene.has_no_open_transaction().await;
    scene.end().await;
}

/// As an administrator or a failover does.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_ends_in_a_transaction_is_replaced() {
    let scene = Scene::on_postgres().await;
    let mut tx = Tx::begin(&scene.store.backend, Lane::Main).await.unwrap();
    two_notes(&mut tx, "cut").await.unwrap();
    let end = "select count(pg_terminate_backend(pid)) as answer from pg_stat_activity \
         where datname = current_database() and state like 'idle in transaction%'";
    assert_eq!(scene.ask_server(end).await, 1);
    assert!(tx.commit().await.is_err(), "nothing is acknowledged");
    scene.keeps_what_it_acknowledges("after it").await;
    assert_eq!(scene.seen_elsewhere("cut 1").await, 0);
    scene.has_no_open_transaction().await;
    scene.end().await;
}

/// The word for the time is what each database takes it from, at any place in a statement.
#[test]
fn words_are_put_into_the_dialect_of_the_database() {
    use crate::store::statement::translated;
    let sql = "select {now}, {least}(a, {now}) from t where b = $1 {lock}";
    let (text, asks) = translated(sql, true, 2);
    let on_postgres =
        "select latchkey_now($2), least(a, latchkey_now($2)) from t where b = $1 for no key update";
    assert_eq!((text.as_str(), asks), (on_postgres, true));
    let (text, asks) = translated(sql, false, 2);
    assert_eq!((text.as_str(), asks), ("select $2, min(a, $2) from t where b = $1 ", true));
    let (text, asks) = translated("select 1", true, 1);
    assert_eq!((text.as_str(), asks), ("select 1", false));
}
