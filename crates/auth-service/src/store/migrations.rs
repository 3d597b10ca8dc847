//! The migrations, compiled in.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

type Text = (i64, &'static str, &'static str);

const POSTGRES: &[Text] = &[
    (1, "start", include_str!("../../../../migrations/postgres/0001_start.sql")),
    (2, "keys_and_trail", include_str!("../../../../migrations/postgres/0002_keys_and_trail.sql")),
    (3, "failed_logins", include_str!("../../../../migrations/postgres/0003_failed_logins.sql")),
    (4, "compatibility", include_str!("../../../../migrations/postgres/0004_compatibility.sql")),
    (
        5,
        "sessions_announce",
        include_str!("../../../../migrations/postgres/0005_sessions_announce.sql"),
    ),
    (
        6,
        "users_and_keys_announce",
        include_str!("../../../../migrations/postgres/0006_users_and_keys_announce.sql"),
    ),
    (7, "live_sessions", include_str!("../../../../migrations/postgres/0007_live_sessions.sql")),
    (8, "session_limit", include_str!("../../../../migrations/postgres/0008_session_limit.sql")),
    (
        9,
        "functions_of_their_schema",
        include_str!("../../../../migrations/postgres/0009_functions_of_their_schema.sql"),
    ),
    (10, "clients", include_str!("../../../../migrations/postgres/0010_clients.sql")),
    (11, "invitations", include_str!("../../../../migrations/postgres/0011_invitations.sql")),
    (
        12,
        "life_of_an_account",
        include_str!("../../../../migrations/postgres/0012_life_of_an_account.sql"),
    ),
    (
        13,
        "session_audience",
        include_str!("../../../../migrations/postgres/0013_session_audience.sql"),
    ),
    (14, "administrators", include_str!("../../../../migrations/postgres/0014_administrators.sql")),
    (15, "counted_events", include_str!("../../../../migrations/postgres/0015_counted_events.sql")),
    (
        16,
        "told_credentials",
        include_str!("../../../../migrations/postgres/0016_told_credentials.sql"),
    ),
    (
        17,
        "sessions_stay_ended",
        include_str!("../../../../migrations/postgres/0017_sessions_stay_ended.sql"),
    ),
    (
        18,
        "told_by_the_owner",
        include_str!("../../../../migrations/postgres/0018_told_by_the_owner.sql"),
    ),
    (
        19,
        "changed_invitations",
        include_str!("../../../../migrations/postgres/0019_changed_invitations.sql"),
    ),
];
const SQLITE: &[Text] = &[
    (1, "start", include_str!("../../../../migrations/sqlite/0001_start.sql")),
    (2, "keys_and_trail", include_str!("../../../../migrations/sqlite/0002_keys_and_trail.sql")),
    (3, "failed_logins", include_str!("../../../../migrations/sqlite/0003_failed_logins.sql")),
    (4, "compatibility", include_str!("../../../../migrations/sqlite/0004_compatibility.sql")),
    (
        5,
        "sessions_announce",
        include_str!("../../../../migrations/sqlite/0005_sessions_announce.sql"),
    ),
    (
        6,
        "users_and_keys_announce",
        include_str!("../../../../migrations/sqlite/0006_users_and_keys_announce.sql"),
    ),
    (7, "live_sessions", include_str!("../../../../migrations/sqlite/0007_live_sessions.sql")),
    (8, "session_limit", include_str!("../../../../migrations/sqlite/0008_session_limit.sql")),
    (
        9,
        "functions_of_their_schema",
        include_str!("../../../../migrations/sqlite/0009_functions_of_their_schema.sql"),
    ),
    (10, "clients", include_str!("../../../../migrations/sqlite/0010_clients.sql")),
    (11, "invitations", include_str!("../../../../migrations/sqlite/0011_invitations.sql")),
    (
        12,
        "life_of_an_account",
        include_str!("../../../../migrations/sqlite/0012_life_of_an_account.sql"),
    ),
    (
        13,
        "session_audience",
        include_str!("../../../../migrations/sqlite/0013_session_audience.sql"),
    ),
    (14, "administrators", include_str!("../../../../migrations/sqlite/0014_administrators.sql")),
    (15, "counted_events", include_str!("../../../../migrations/sqlite/0015_counted_events.sql")),
    (
        16,
        "told_credentials",
        include_str!("../../../../migrations/sqlite/0016_told_credentials.sql"),
    ),
    (
        17,
        "sessions_stay_ended",
        include_str!("../../../../migrations/sqlite/0017_sessions_stay_ended.sql"),
    ),
    (
        18,
        "told_by_the_owner",
        include_str!("../../../../migrations/sqlite/0018_told_by_the_owner.sql"),
    ),
    (
        19,
        "changed_invitations",
        include_str!("../../../../migrations/sqlite/0019_changed_invitations.sql"),
    ),
];

pub(super) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

pub(super) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

/// The numbers of the migrations that this program has, in their order.
pub(super) fn known() -> impl Iterator<Item = i64> {
    POSTGRES.iter().map(|(version, _, _)| *version)
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
        assert_eq!(names(POSTGRES), names(SQLITE));
    }

    /// What a migration says of older programs holds for both databases.
    #[test]
    fn a_migration_marks_only_itself_and_the_same_on_both_databases() {
        let marks = |sql: &str| -> Vec<String> {
            let lines = sql.lines().filter(|line| line.contains("into schema_compatibility"));
            lines.map(str::to_owned).collect()
        };
        let begins = "insert into schema_compatibility (version, oldest_program) values";
        for ((version, name, postgres), (_, _, sqlite)) in POSTGRES.iter().zip(SQLITE) {
            assert_eq!(marks(postgres), marks(sqlite), "{version} {name}");
            for mark in marks(postgres) {
                assert!(mark.starts_with(&format!("{begins} ({version}, ")), "{name}: {mark}");
            }
        }
    }

    /// A database remembers what was applied to it and refuses a program that has it otherwise: a
    /// change is a migration of its own. A new one is added here.
    #[test]
    fn no_migration_that_is_out_was_changed() {
        let out = [
            ["ea10694b3d3eebc476e9f27a35e36ebf", "fa812595981585adcf176899ede8a784"],
            ["baf3c7783d89a466b154f41abe13060f", "c69d2c61eb407e72ea59cf8e8601a024"],
            ["478b5ca6f54a454feab916d495303112", "ae9756f8b66cd82c3892491a5bc3d0c9"],
            ["85fac044c69c23fcb2e4212b2943ef02", "ef89c4ad024fc44937abf7fcf16addaf"],
            ["64195119c576f059245507289b6a687e", "4a3e241dd467d3a63bcccf5d3eba2e89"],
            ["3ca2d7ee3e342b0c7b1cb27bf5a5d785", "d805d7cb26b9982d2440b7b1c68fccc0"],
            ["019ad8d086ab863c79cf3c1d9ca5b730", "a56f247c0469aa2960e2f2aaef3182d3"],
            ["62c78c7244611b9850e87b66c9bb0234", "dfc1197d6dd6ddc878c8bd023b5ef40c"],
            ["b0a28a4ed898271455cecccb73d8faf9", "ad9c9217982f9bbd3af73c0ba4f8cddb"],
            ["2e5bcb461bd047040ba6d70a33d43708", "ef0aa5b80137e1e9a8b03c547e838f3d"],
            ["368174ea7e4994d60f2d37668dc3caac", "b6eab34ac53b3296bc01cdcffb973f19"],
            ["5d18a8a336010899eb328b039cd9fa6c", "632036fd87e81f85ffe24a5d0667f5a1"],
            ["9f33730050cea55568caab3a5b2129a8", "7dbc5ffdb99221206b72301399e9983f"],
            ["60373242a4ef31578242d01b26fcdb92", "6a8d2343936167e5455f2fb45de460ef"],
            ["9cec40d93c70c9657c520e9c2ed0bfc0", "7dac8ec1d1424b60e40db63a115b6fd7"],
            ["aa78611eb75f86da0deab900eb599cc9", "f877b10617231c1c5659cb1d86d647cb"],
            ["a5a89ac8050b513ea90cd81ae768aaf5", "350eabf42a7f64f358f7299dfe50154a"],
            ["4caef30571eaf1f60ce33ef52e9706d9", "bbca16347e2e969867772f4171811e7b"],
            ["905ce0614b9d1cef0544509ca79056ab", "636c1864aae8ec559fd82af6fa5b069e"],
        ];
        assert_eq!(POSTGRES.len(), out.len());
        for ((postgres, sqlite), out) in POSTGRES.iter().zip(SQLITE).zip(out) {
            for ((version, name, sql), out) in [postgres, sqlite].into_iter().zip(out) {
                let digest = digest::digest(&digest::SHA256, sql.as_bytes());
                let digest = u128::from_be_bytes(*digest.as_ref().first_chunk().unwrap());
                assert_eq!(format!("{digest:032x}"), out, "{version} {name}");
            }
        }
    }
}
