//! The migrations, compiled in.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

type Text = (i64, &'static str, &'static str);

const POSTGRES: [Text; 2] = [
    (1, "start", include_str!("../../../../migrations/postgres/0001_start.sql")),
    (2, "keys_and_trail", include_str!("../../../../migrations/postgres/0002_keys_and_trail.sql")),
];
const SQLITE: [Text; 2] = [
    (1, "start", include_str!("../../../../migrations/sqlite/0001_start.sql")),
    (2, "keys_and_trail", include_str!("../../../../migrations/sqlite/0002_keys_and_trail.sql")),
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
    use super::*;

    #[test]
    fn both_databases_have_the_same_migrations() {
        let names = |texts: &[Text]| -> Vec<_> {
            texts.iter().map(|(version, name, _)| (*version, *name)).collect()
        };
        assert_eq!(names(&POSTGRES), names(&SQLITE));
    }
}
