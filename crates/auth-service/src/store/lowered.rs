//! Limits that were lowered after sessions had been opened with higher ones.

use super::{Backend, Store, StoreError, bounded};

impl Store {
    /// Brings the ends of the next `batch` sessions after `after` down to these limits, in milliseconds,
    /// where they were opened with higher ones, and says where to go on; `None` at the end.
    pub async fn lower_ends(
        &self,
        idle_ms: i64,
        absolute_ms: i64,
        after: Option<String>,
        batch: i64,
    ) -> Result<Option<String>, StoreError> {
        let after = after.unwrap_or_default();
        on_backend!(self, db => db.lower_ends(idle_ms, absolute_ms, &after, batch).await)
    }
}
