//! A program and a schema that is newer: what an older service sees while an upgrade goes through.

use testbed::service::{assert_one_clear_line, run};
use testbed::{Database, Kind, Service, on_each_empty_database};

/// A migration that this program does not know.
async fn apply_a_later_migration(database: &Database) {
    database
        .execute(match database.kind() {
            Kind::Postgres => {
                "insert into _sqlx_migrations (version, description, success, checksum, \
                 execution_time) values (9999, 'later', true, '\\x00', 0)"
            }
            Kind::Sqlite => {
                "insert into _sqlx_migrations (version, description, success, checksum, \
                 execution_time) values (9999, 'later', true, x'00', 0)"
            }
        })
        .await;
}

/// An auth-service on a database that was migrated by it and then by a later program.
async fn older_program(database: &Database, settings: &[(&str, &str)]) -> Service {
    let service = Service::auth(&database.url, settings);
    assert!(run("auth-service", &["migrate"], &service.settings).status.success());
    apply_a_later_migration(database).await;
    service
}

/// Neither a service that migrates, nor one that does not, nor a command gets to work.
fn assert_refused(service: &Service, parts: &[&str]) {
    let mut not_migrating = service.settings.clone();
    not_migrating.push(("AUTH__DATABASE__MIGRATE_ON_START".to_owned(), "false".to_owned()));
    for (arguments, settings) in [
        (&[][..], &service.settings),
        (&[], &not_migrating),
        (&["migrate"], &service.settings),
        (&["user", "list"], &service.settings),
    ] {
        let output = run("auth-service", arguments, settings);
        assert_one_clear_line(&output, "auth-service", parts);
    }
    let output = run("auth-service", &["doctor"], &service.settings);
    let said = String::from_utf8_lossy(&output.stdout);
    let bad = said.lines().find(|line| line.starts_with("BAD   database"));
    let bad = bad.unwrap_or_else(|| panic!("doctor says {said}"));
    for part in parts {
        assert!(bad.contains(part), "{part} is not in: {bad}");
    }
}

const MARK: &str = "insert into schema_compatibility (version, oldest_program) values (9999, 4)";
const MARK_FOR_LATER_PROGRAMS: &str =
    "insert into schema_compatibility (version, oldest_program) values (9999, 9998)";

on_each_empty_database! {
    async fn a_newer_schema_that_says_so_is_served_by_an_older_program(database) {
        let mut service = older_program(&database, &[]).await;
        database.execute(MARK).await;
        service.start().await;
        let first = service.newcomer("ada").await;
        assert_eq!(service.refresh(&first.refresh).await.status, 200);
        service.kill();
        let output = run("auth-service", &["migrate"], &service.settings);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = run("auth-service", &["doctor"], &service.settings);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("the schema is newer (9999), and this program may serve it"), "{said}");
        let not_migrating = [("AUTH__DATABASE__MIGRATE_ON_START", "false")];
        let mut another = Service::auth(&database.url, &not_migrating);
        another.start().await;
        another.login("ada").await;
    }

    async fn a_newer_schema_that_says_nothing_is_refused(database) {
        let service = older_program(&database, &[]).await;
        assert_refused(&service, &["migration 9999 does not let older programs serve", "use the version"]);
    }

    async fn a_newer_schema_for_later_programs_is_refused(database) {
        let service = older_program(&database, &[]).await;
        database.execute(MARK_FOR_LATER_PROGRAMS).await;
        assert_refused(&service, &["migration 9999", "from migration 9998 on", "use the version"]);
    }

    async fn a_newer_schema_that_cannot_be_asked_is_refused(database) {
        let service = older_program(&database, &[]).await;
        database.execute("drop table schema_compatibility").await;
        assert_refused(&service, &["schema_compatibility cannot be read", "use the version"]);
    }

    /// Out of order, or by hand.
    async fn a_newer_schema_that_lacks_what_the_program_has_is_refused(database) {
        let service = older_program(&database, &[]).await;
        database.execute(MARK).await;
        database.execute("delete from _sqlx_migrations where version = 3").await;
        assert_refused(&service, &["migration 3 is not applied", "auth-service migrate"]);
    }

    async fn a_migration_that_was_changed_is_refused_on_a_newer_schema_too(database) {
        let service = older_program(&database, &[]).await;
        database.execute(MARK).await;
        database.execute("update _sqlx_migrations set checksum = 'abc' where version = 3").await;
        let output = run("auth-service", &["migrate"], &service.settings);
        assert_one_clear_line(&output, "auth-service", &["migration 3", "modified"]);
    }
}
