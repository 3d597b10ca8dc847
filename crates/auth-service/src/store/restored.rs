//! Whether the database is a backup in which what had ended since is alive again.
//!
//! `restore` marks the file that it puts in place, in the number that SQLite keeps for applications (the user
//! version), and whoever ends everything takes the mark away. A service does not serve while it is there. What
//! `pg_restore` makes has no such mark.

use super::postgres::Lane;
use super::rows::Columns as _;
use super::{Backend, Store, StoreError};

/// What the mark is: "Latk" in ASCII, so that no other program means something by it. A database that was made
/// here has 0.
pub(super) const RESTORED: i32 = 0x4C61_746B;

impl Store {
    /// Whether `restore` put the database here, and nobody has ended everything since.
    pub async fn is_restored(&self) -> Result<bool, StoreError> {
        let Backend::Sqlite(_) = &self.backend else { return Ok(false) };
        let found = self.read("is_restored", Lane::Main, "pragma user_version", Vec::new()).await?;
        let mark = found.first().map(|row| row.int("user_version")).transpose()?;
        Ok(mark == Some(RESTORED.into()))
    }

    /// Says that everything of before was ended, so that the database may be served.
    pub async fn settle_restored(&self) -> Result<(), StoreError> {
        if self.is_restored().await? {
            self.write("settle_restored", Lane::Main, (), "pragma user_version = 0", Vec::new())
                .await?;
        }
        Ok(())
    }
}
