//! The migrations, compiled in.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

type Text = (i64, &'static str, &'static str);

const POSTGRES: [Text; 3] = [
    (1, "start", include_str!("../../../../migrations/postgres/0001_start.sql")),
    (2, "keys_and_trail", include_str!("../../../../migrations/postgres/0002_keys_and_trail.sql")),
    (3, "failed_logins", include_str!("../../../../migrations/postgres/0003_failed_logins.sql")),
];
const SQLITE: [Text; 3] = [
    (1, "start", include_str!("../../../../migrations/sqlite/0001_start.sql")),
    (2, "keys_and_trail", include_str!("../../../../migrations/sqlite/0002_keys_and_trail.sql")),
    (3, "failed_logins", include_str!("../../../../migrations/sqlite/0003_failed_logins.sql")),
];

pub(super) fn postgres() -> Migrator {
    migrator(&POSTGRES)
}

pub(super) fn sqlite() -> Migrator {
    migrator(&SQLITE)
}

/// The schema this program works with.
pub(super) fn newest() -> Option<i64> {
    POSTGRES.last().map(|(version, _, _)| *version)
}

/// The `migrate!` macro would need the `macros` feature; this is all it does.
fn migrator(texts: &[Text]) -> Migrator {
    let migration = |(version, name, sql): &Text| {
        let kind = MigrationType::Simple;
        Migration::new(*version, (*name).into(), kind, (*sql).into_sql_str(), false)
    };
    Migrator::with_migrations(texts.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;

    use super::*;

    #[test]
    fn both_databases_have_the_same_migrations() {
        let names = |texts: &[Text]| -> Vec<_> {
            texts.iter().map(|(version, name, _)| (*version, *name)).collect()
        };
        assert_eq!(names(&POSTGRES), names(&SQLITE));
    }

    /// A database remembers what was applied to it and refuses a program that has it otherwise: a
    /// change is a migration of its own. A new one is added here.
    #[test]
    fn no_migration_that_is_out_was_changed() {
        let out = [
            ["ea10694b3d3eebc476e9f27a35e36ebf", "fa812595981585adcf176899ede8a784"],
            ["baf3c7783d89a466b154f41abe13060f", "c69d2c61eb407e72ea59cf8e8601a024"],
            ["478b5ca6f54a454feab916d495303112", "ae9756f8b66cd82c3892491a5bc3d0c9"],
        ];
        assert_eq!(POSTGRES.len(), out.len());
        for ((postgres, sqlite), out) in POSTGRES.iter().zip(&SQLITE).zip(out) {
            for ((version, name, sql), out) in [postgres, sqlite].into_iter().zip(out) {
                let digest = digest::digest(&digest::SHA256, sql.as_bytes());
                let digest = u128::from_be_bytes(*digest.as_ref().first_chunk().unwrap());
                assert_eq!(format!("{digest:032x}"), out, "{version} {name}");
            }
        }
    }
}
