//! Whether this program may serve the schema that is there. A schema may be newer than the program
//! while an upgrade goes through, if each migration that the program does not know says so.

use sqlx::migrate::{MigrateError, Migrator};

use super::postgres::Lane;
use super::rows::{Columns as _, Row};
use super::{Backend, OpenError, Store, StoreError, migrations};

impl Store {
    /// The newest migration of a schema that is newer than this program.
    #[must_use]
    pub fn newer_schema(&self) -> Option<i64> {
        self.newer_schema
    }

    /// Brings the schema up to date. Several at once wait for each other. A newer schema stays as it
    /// is, and is an error where this program may not serve it.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        match self.run_migrations(false).await {
            Err(OpenError::Migrate(MigrateError::VersionMissing(_))) => {
                self.check_schema().await?;
                // Nothing is left to apply. This compares what both know, and refuses what was changed.
                self.run_migrations(true).await
            }
            done => done,
        }
    }

    async fn run_migrations(&self, ignore_missing: bool) -> Result<(), OpenError> {
        let strict = |mut migrator: Migrator| {
            migrator.set_ignore_missing(ignore_missing);
            migrator
        };
        match &self.backend {
            Backend::Postgres(db) => db.migrate(&strict(migrations::postgres())).await,
            Backend::Sqlite(db) => db.migrate(&strict(migrations::sqlite())).await,
        }
    }

    /// The newest migration of the database if it is newer than this program; an error where this
    /// program may not serve the schema.
    pub(super) async fn check_schema(&self) -> Result<Option<i64>, OpenError> {
        let applied = self.applied().await.map_err(|error| failed(error, OpenError::Schema))?;
        if let Some(missing) = migrations::known().find(|version| !applied.contains(version)) {
            return Err(OpenError::Schema(format!("migration {missing} is not applied")));
        }
        let unknown = |version: &i64| migrations::known().all(|known| known != *version);
        let unknown: Vec<_> = applied.into_iter().filter(unknown).collect();
        if unknown.is_empty() {
            return Ok(None);
        }
        let unreadable =
            |why| OpenError::NewerSchema(format!("schema_compatibility cannot be read: {why}"));
        let marks = self.compatible().await.map_err(|error| failed(error, unreadable))?;
        judge(&unknown, &marks).map_err(OpenError::NewerSchema)?;
        let newest = unknown.into_iter().max();
        tracing::info!(
            newest,
            "the database schema is newer than this program, which may serve it all the same"
        );
        Ok(newest)
    }

    /// The numbers of the migrations that were applied.
    async fn applied(&self) -> Result<Vec<i64>, StoreError> {
        let sql = "select version from _sqlx_migrations where success";
        let found = self.read("applied", Lane::Main, sql, Vec::new()).await?;
        Ok(found.iter().map(|row| row.int("version")).collect::<Result<_, _>>()?)
    }

    /// What migrations say of older programs: their number, and that of the oldest program.
    async fn compatible(&self) -> Result<Vec<(i64, i64)>, StoreError> {
        let sql = "select version, oldest_program from schema_compatibility";
        let found = self.read("compatible", Lane::Main, sql, Vec::new()).await?;
        let mark =
            |row: &Row| Ok::<_, sqlx::Error>((row.int("version")?, row.int("oldest_program")?));
        Ok(found.iter().map(mark).collect::<Result<_, _>>()?)
    }
}

/// Whether each migration that this program does not know lets it serve.
pub(super) fn judge(unknown: &[i64], marks: &[(i64, i64)]) -> Result<(), String> {
    let newest = migrations::known().max().unwrap_or(0);
    for version in unknown {
        match marks.iter().find(|(marked, _)| marked == version) {
            None => return Err(format!("migration {version} does not let older programs serve")),
            Some((_, oldest)) if *oldest > newest => {
                return Err(format!(
                    "migration {version} lets programs serve from migration {oldest} on, and this \
                     program has {newest}"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn failed(error: StoreError, why: impl FnOnce(String) -> OpenError) -> OpenError {
    match error {
        StoreError::Database(error) => why(error.to_string()),
        _ => OpenError::Silent,
    }
}
