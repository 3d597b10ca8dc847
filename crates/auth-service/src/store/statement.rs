//! Statements that are written once for both databases: their parameters, and the words that the
//! databases call differently.

use std::time::Duration;

use claims::{SessionId, Timestamp, UserId};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Postgres, SqlSafeStr as _, SqlStr, Sqlite, query};
use uuid::Uuid;

/// A parameter. What may be absent has a type all the same: a statement is prepared once, with the
/// types of the parameters that it is first run with.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Texts(Vec<String>),
    Bytes(Vec<u8>),
    Uuid(Option<Uuid>),
}

/// What the databases call differently: the word, on Postgres, and on SQLite.
///
/// There is one more, `{now}`: the time by the clock that judges, in milliseconds. It is the
/// database's clock on Postgres and this process's on SQLite, as the statement is run.
const WORDS: [(&str, &str, &str); 7] = [
    // Locks the rows that are read. On SQLite the writer has the whole database to itself.
    ("{lock}", "for no key update", ""),
    ("{lock_free_ones}", "for update skip locked", ""),
    ("{least}", "least", "min"),
    // `select value from {each}($1) value`: the parts of a parameter.
    ("{each}", "unnest", "json_each"),
    // Behind a text: what JSON it is, of which `->>` takes a member; and which id it is.
    ("{json}", "::json", ""),
    ("{uuid}", "::uuid", ""),
    // A text compared and put in order by its bytes, as indexes for what begins with a text do.
    ("{bytewise}", r#"collate "C""#, "collate binary"),
];
const NOW: &str = "{now}";

pub(super) fn on_postgres(
    sql: &'static str,
    values: &[Value],
    offset: i64,
) -> Query<'static, Postgres, <Postgres as Database>::Arguments> {
    let (sql, asks_time) = translated(sql, true, values.len() + 1);
    let bound = values.iter().fold(query(sql), |query, value| match value {
        Value::Int(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.clone()),
        Value::Texts(texts) => query.bind(texts.clone()),
        Value::Bytes(bytes) => query.bind(bytes.clone()),
        Value::Uuid(id) => query.bind(*id),
    });
    if asks_time { bound.bind(offset) } else { bound }
}

pub(super) fn on_sqlite(
    sql: &'static str,
    values: &[Value],
    now: Timestamp,
) -> Query<'static, Sqlite, <Sqlite as Database>::Arguments> {
    let (sql, asks_time) = translated(sql, false, values.len() + 1);
    let bound = values.iter().fold(query(sql), |query, value| match value {
        Value::Int(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.clone()),
        Value::Texts(texts) => query.bind(serde_json::json!(texts).to_string()),
        Value::Bytes(bytes) => query.bind(bytes.clone()),
        Value::Uuid(id) => query.bind(id.map(|id| id.to_string())),
    });
    if asks_time { bound.bind(now.0) } else { bound }
}

/// In the dialect of the database, and whether it asks for the time, which is then parameter `next`.
/// The text is the same at every call, so that it is prepared once.
pub(super) fn translated(sql: &'static str, postgres: bool, next: usize) -> (SqlStr, bool) {
    if !sql.contains('{') {
        return (sql.into_sql_str(), false);
    }
    let asks_time = sql.contains(NOW);
    let now = if postgres { format!("latchkey_now(${next})") } else { format!("${next}") };
    let mut text = sql.replace(NOW, &now);
    for (word, on_postgres, on_sqlite) in WORDS {
        text = text.replace(word, if postgres { on_postgres } else { on_sqlite });
    }
    (AssertSqlSafe(text).into_sql_str(), asks_time)
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        at.0.into()
    }
}

/// The databases count in milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        millis(duration).into()
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(at: Option<Timestamp>) -> Self {
        Self::Int(at.map(|at| at.0))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<SessionId> for Value {
    fn from(id: SessionId) -> Self {
        id.to_string().into()
    }
}

impl From<Option<SessionId>> for Value {
    fn from(id: Option<SessionId>) -> Self {
        Self::Text(id.map(|id| id.to_string()))
    }
}

impl From<UserId> for Value {
    fn from(user: UserId) -> Self {
        Self::Uuid(Some(user.0))
    }
}

impl From<Option<UserId>> for Value {
    fn from(user: Option<UserId>) -> Self {
        Self::Uuid(user.map(|user| user.0))
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}
