//! Everything that a database or a Redis holds, to be looked through.
use std::fs;
use std::path::Path;

use sqlx::{AssertSqlSafe, Row as _, query, query_scalar};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::canaries::Place;
use testbed::{Database, Kind};

/// Every column of every table, the files where there are any, and what the server remembers of the
/// statements it was sent. Only the columns of users and invitations that hold addresses may hold addresses.
pub(crate) async fn database(database: &Database) -> Vec<Place> {
    match database.kind() {
        Kind::Postgres => postgres(database).await,
        Kind::Sqlite => sqlite(database).await,
    }
}

async fn postgres(database: &Database) -> Vec<Place> {
    let pool = database.postgres().await;
    let columns = query(
        "select table_name::text, column_name::text from information_schema.columns \
         where table_schema = 'public'",
    )
    .fetch_all(&pool)
    .await
    .expect("the columns can be listed");
    let mut places = Vec::new();
    for column in columns {
        let (table, column): (String, String) = (column.get(0), column.get(1));
        let sql = format!(r#"select string_agg("{column}"::text, E'\n') from "{table}""#);
        let text: Option<String> =
            query_scalar(AssertSqlSafe(sql)).fetch_one(&pool).await.expect("a column can be read");
        places.push(of_column(&table, &column, text));
    }
    let statements: Option<String> = query_scalar(
        "select string_agg(query, E'\n') from pg_stat_activity where datname = current_database()",
    )
    .fetch_one(&pool)
    .await
    .expect("the statements can be read");
    places.push(Place::new("pg_stat_activity", statements.unwrap_or_default()));
    pool.close().await;
    places
}

async fn sqlite(database: &Database) -> Vec<Place> {
    let pool = database.sqlite().await;
    let columns = query(
        "select t.name, c.name from sqlite_schema t join pragma_table_info(t.name) c \
         where t.type = 'table'",
    )
    .fetch_all(&pool)
    .await
    .expect("the columns can be listed");
    let mut places = Vec::new();
    for column in columns {
        let (table, column): (String, String) = (column.get(0), column.get(1));
        let sql = format!(r#"select group_concat(quote("{column}"), char(10)) from "{table}""#);
        let text: Option<String> =
            query_scalar(AssertSqlSafe(sql)).fetch_one(&pool).await.expect("a column can be read");
        places.push(of_column(&table, &column, text));
    }
    // Before it is closed: that may empty the log of writes.
    let file = Path::new(database.url.trim_start_matches("sqlite:"));
    let directory = fs::read_dir(file.parent().expect("a directory")).expect("it can be read");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    for entry in directory.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        if found.starts_with(&name) {
            let bytes = fs::read(entry.path()).expect("it can be read");
            places.push(Place::new(found, bytes).allowing(ADDRESS));
        }
    }
    pool.close().await;
    places
}

/// The kind of canary that an address is.
pub(crate) const ADDRESS: &str = "e-mail";

fn of_column(table: &str, column: &str, text: Option<String>) -> Place {
    let place = Place::new(format!("column {table}.{column}"), text.unwrap_or_default());
    let of_addresses =
        matches!(table, "users" | "invitations") && matches!(column, "email" | "email_key");
    if of_addresses { place.allowing(ADDRESS) } else { place }
}

/// Every key, of what type it is, how Redis would dump it, and what is in it.
pub(crate) async fn redis(url: &str) -> Vec<Place> {
    let client = redis::Client::open(url).expect("the URL is right");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let keys: Vec<Vec<u8>> =
        redis::cmd("KEYS").arg("*").query_async(&mut redis).await.expect("Redis answers");
    let mut places = vec![Place::new("Redis' keys", keys.join(&b'\n'))];
    for key in keys {
        for command in ["TYPE", "DUMP", "GET"] {
            // One may have expired, or be of another type.
            let asked = redis::cmd(command).arg(&key).query_async::<Vec<u8>>(&mut redis).await;
            let name = format!("Redis' {command} {}", String::from_utf8_lossy(&key));
            places.push(Place::new(name, asked.unwrap_or_default()));
        }
    }
    places
}

/// Everything that anybody tells Redis, from now on.
#[derive(Debug)]
pub(crate) struct Monitor(JoinHandle<Vec<u8>>, tokio::sync::oneshot::Sender<()>);

impl Monitor {
    /// Begins to listen; `password` is Redis's.
    pub(crate) async fn start(address: &str, password: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("Redis listens");
        let asked = format!("AUTH {password}\r\nMONITOR\r\n");
        stream.write_all(asked.as_bytes()).await.expect("Redis reads");
        let mut agreed = [0; b"+OK\r\n+OK\r\n".len()];
        stream.read_exact(&mut agreed).await.expect("Redis answers");
        assert_eq!(&agreed, b"+OK\r\n+OK\r\n");
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let listening = tokio::spawn(async move {
            let mut heard = Vec::new();
            loop {
                tokio::select! {
                    read = stream.read_buf(&mut heard) => {
                        if !matches!(read, Ok(1..)) {
                            return heard;
                        }
                    }
                    _ = &mut stopped => return heard,
                }
            }
        });
        Self(listening, stop)
    }

    /// Ends it, with what was heard.
    pub(crate) async fn stop(self) -> Place {
        let _ = self.1.send(());
        Place::new("what Redis was told", self.0.await.expect("it listens"))
    }
}
