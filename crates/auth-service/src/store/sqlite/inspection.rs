//! What SQLite says of itself.

use sqlx::query_scalar;

use super::super::StoreError;
use super::super::inspection::Inspection;
use super::Sqlite;

impl Sqlite {
    pub(in crate::store) async fn inspect(&self) -> Result<Inspection, StoreError> {
        let version: String = query_scalar("select sqlite_version()")
            .fetch_one(&mut self.readers.acquire().await?)
            .await?;
        let journal: String = query_scalar("pragma journal_mode")
            .fetch_one(&mut self.writer.acquire().await?)
            .await?;
        let synchronous: i64 =
            query_scalar("pragma synchronous").fetch_one(&mut self.writer.acquire().await?).await?;
        let check: String = query_scalar("pragma quick_check(1)")
            .fetch_one(&mut self.readers.acquire().await?)
            .await?;
        let (wal, sound) = (journal == "wal", check == "ok");
        Ok(Inspection {
            server: format!("SQLite {version}"),
            now: self.clock.now(),
            settings: vec![
                ("journal_mode", journal, wal),
                ("synchronous", synchronous.to_string(), synchronous >= 2),
                ("quick_check", check, sound),
            ],
            protection: None,
            oldest_snapshot_ms: None,
        })
    }
}
