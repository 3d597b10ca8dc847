//! What a file that may be a database of Latchkey says of itself.

use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, query_as, query_scalar};

use super::super::{migrations, schema};

/// What is in a copy.
pub(super) struct Contents {
    /// Its migrations: number and digest.
    applied: Vec<(i64, Vec<u8>)>,
    /// What migrations say of older programs.
    marks: Vec<(i64, i64)>,
    pub(super) users: i64,
}

/// Why a copy must not be used.
pub(super) enum Unusable {
    /// It is no sound database of Latchkey.
    Unfit(String),
    /// This program does not know all of its migrations.
    Newer(String),
}

impl Contents {
    /// Reads a copy that nobody else uses. It is not changed, and no file is made beside it.
    ///
    /// # Errors
    /// Why it is no sound database of Latchkey.
    pub(super) async fn read(copy: &Path) -> Result<Self, String> {
        let options = SqliteConnectOptions::new().filename(copy).read_only(true).immutable(true);
        let options = options.disable_statement_logging();
        let mut connection = options.connect().await.map_err(|error| error.to_string())?;
        let found = Self::ask(&mut connection).await;
        let closed = connection.close().await;
        let (sound, contents) = found.map_err(|error| error.to_string())?;
        closed.map_err(|error| error.to_string())?;
        if sound == "ok" { Ok(contents) } else { Err(sound) }
    }

    async fn ask(connection: &mut SqliteConnection) -> Result<(String, Self), sqlx::Error> {
        let sound: String =
            query_scalar("pragma integrity_check(1)").fetch_one(&mut *connection).await?;
        let applied =
            "select version, checksum from _sqlx_migrations where success order by version";
        let applied: Vec<(i64, Vec<u8>)> = query_as(applied).fetch_all(&mut *connection).await?;
        // The table came with migration 4.
        let marks = if applied.iter().any(|(version, _)| *version == 4) {
            let marks = "select version, oldest_program from schema_compatibility";
            query_as(marks).fetch_all(&mut *connection).await?
        } else {
            Vec::new()
        };
        let users = query_scalar("select count(*) from users").fetch_one(&mut *connection).await?;
        Ok((sound, Self { applied, marks, users }))
    }

    /// Whether this program may serve it, once it is migrated.
    pub(super) fn check(&self) -> Result<(), Unusable> {
        let ours = migrations::sqlite();
        let mut unknown = Vec::new();
        for (version, digest) in &self.applied {
            match digest_of(&ours, *version) {
                Some(ours) if ours != digest.as_slice() => {
                    let why = format!("its migration {version} is not this program's");
                    return Err(Unusable::Unfit(why));
                }
                Some(_) => {}
                None => unknown.push(*version),
            }
        }
        if self.applied.is_empty() {
            return Err(Unusable::Unfit("no migration was applied to it".to_owned()));
        }
        schema::judge(&unknown, &self.marks).map_err(Unusable::Newer)
    }

    /// The number of its newest migration; 0 where there is none.
    pub(super) fn schema(&self) -> i64 {
        self.applied.last().map_or(0, |(version, _)| *version)
    }
}

fn digest_of(migrator: &Migrator, version: i64) -> Option<&[u8]> {
    let migration = migrator.iter().find(|migration| migration.version == version)?;
    Some(&migration.checksum)
}
