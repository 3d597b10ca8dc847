//! An old state of the database takes the place of the one that services know: what was said since is
//! forgotten there, and not by those who heard it.

use testbed::process::{self, Process};
use testbed::service::{run, until};
use testbed::{Kind, Service, on_each_empty_database};

use crate::commands::{bad, good};

async fn stop(auth: &mut Service) {
    auth.terminate();
    assert!(auth.ended().await);
}

on_each_empty_database! {
    async fn what_was_interrupted_is_done_again(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        auth.register("ada").await;
        stop(&mut auth).await;
        database.execute(match database.kind() {
            Kind::Postgres => {
                "insert into users (id, username, username_key, password_hash, created_at) \
                 select cast(lpad(to_hex(i), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(i), 12, '0') \
                    as uuid), 'user' || i, 'user' || i, 'x', 1 from generate_series(1, 5000) i"
            }
            Kind::Sqlite => {
                "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) \
                 insert into users (id, username, username_key, password_hash, created_at) \
                 select printf('%08x-0000-7000-8000-%012x', i, i), 'user' || i, 'user' || i, 'x', 1 from n"
            }
        }).await;
        let end_all = ["session", "end-all", "--after-restore"];
        let mut first = process::command("auth-service", &end_all, &auth.settings);
        let first = Process::run(first.env("RUST_LOG", "off"));
        until("some are done", async || {
            database.number("select count(*) from users where version > 1").await > 0
        }).await;
        first.kill();
        let said = good(&run("auth-service", &end_all, &auth.settings));
        assert!(said.contains("5001 users"), "{said}");
        let low = "select count(*) from users where version < 28000000";
        assert_eq!(database.number(low).await, 0);
        let entries = "select count(*) from revocations where kind = 'subject'";
        assert_eq!(database.number(entries).await, 0, "no service need remember each of them");
        auth.start().await;
        auth.login("ada").await;
    }

    async fn what_cannot_be_ended_is_told_before_anything_is(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        auth.register("ada").await;
        let versions = "select cast(sum(version) as bigint) from users";
        let keys = "select count(*) from keys";
        let before = (database.number(versions).await, database.number(keys).await);
        let end_all = ["session", "end-all", "--after-restore"];
        let with = |name: &str, value: &str| {
            let mut settings = auth.settings.clone();
            settings.retain(|(known, _)| known != name);
            settings.push((name.to_owned(), value.to_owned()));
            run("auth-service", &end_all, &settings)
        };
        let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        bad(&with("AUTH__KEYS__MASTER_KEY", other), "keys.other_master_key");
        bad(&with("AUTH__CLOCK__OFFSET_SECONDS", "-40000000"), "before 2026");
        assert!(!run("auth-service", &end_all[..2], &auth.settings).status.success());
        assert_eq!((database.number(versions).await, database.number(keys).await), before);
    }
}
