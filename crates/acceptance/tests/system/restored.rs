//! An old state of the database takes the place of the one that services know: what was said since is
//! forgotten there, and not by those who heard it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};
use tempfile::TempDir;
use testbed::process::{self, Process};
use testbed::service::{run, until};
use testbed::{Database, Kind, PASSWORD, Service, Tokens, on_each_empty_database};

use crate::commands::{bad, good};
use crate::house::read;

/// A copy of a database as docs/backup.md has it made and put back.
struct Backup<'a> {
    database: &'a Database,
    directory: TempDir,
}

impl<'a> Backup<'a> {
    async fn of(database: &'a Database, auth: &Service) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let backup = Self { database, directory };
        match database.kind() {
            Kind::Sqlite => {
                good(&run("auth-service", &["backup", &backup.file()], &auth.settings));
            }
            Kind::Postgres => backup.recipe(0).await,
        }
        backup
    }

    async fn restore(&self, auth: &Service) {
        match self.database.kind() {
            Kind::Sqlite => {
                good(&run("auth-service", &["restore", &self.file()], &auth.settings));
            }
            Kind::Postgres => self.recipe(1).await,
        }
    }

    fn file(&self) -> String {
        self.directory.path().join("latchkey.backup").display().to_string()
    }

    /// Runs what docs/backup.md says for Postgres, for the database of this test.
    async fn recipe(&self, index: usize) {
        let text = read("docs/backup.md");
        let block = text.split("```sh\n").nth(index + 1).and_then(|it| it.split("```").next());
        let script = block.expect("the page has it").replace("latchkey", self.database.name());
        let server = self.database.server();
        let (host, port) = server.split_once(':').expect("a port");
        let path =
            format!("{}:{}", self.programs().await, std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-ec", &script]).current_dir(self.directory.path()).env("PATH", path);
        shell.env("PGHOST", host).env("PGPORT", port).env("PGUSER", "postgres");
        let output = shell.output().expect("a shell");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where the server's own programs are.
    async fn programs(&self) -> String {
        let pool = self.database.postgres().await;
        let asked = sqlx::query_scalar("select setting from pg_config where name = 'BINDIR'");
        let programs = asked.fetch_one(&pool).await.expect("a superuser may ask");
        pool.close().await;
        programs
    }

    /// Removes the database that was there before.
    async fn clear_up(&self) {
        if self.database.kind() == Kind::Postgres {
            let pool = self.database.postgres().await;
            let sql = format!("drop database {}_before", self.database.name());
            pool.execute(AssertSqlSafe(sql)).await.expect("it is there");
            pool.close().await;
        }
    }
}

/// What says so goes to the one or to the other.
fn refused_as_restored(output: &Output) {
    assert!(!output.status.success());
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(said.concat().contains("session end-all --after-restore"), "{said:?}");
}

async fn stop(auth: &mut Service) {
    auth.terminate();
    assert!(auth.ended().await);
}

fn key_of(tokens: &Tokens) -> String {
    let header = tokens.access.split('.').next().expect("a segment");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a key").to_owned()
}

async fn accepted(resource: &Service, tokens: &Tokens, what: &str) {
    until(what, async || resource.whoami(&tokens.access).await.status == 200).await;
}

async fn change_password(auth: &Service, tokens: &Tokens, new: &str) {
    let body = json!({"current_password": PASSWORD, "new_password": new, "sessions": "all"});
    let request = auth.http.post(format!("{}/password", auth.public)).bearer_auth(&tokens.access);
    assert_eq!(testbed::Answer::to(request.json(&body)).await.status, 204);
}

on_each_empty_database! {
    async fn nothing_of_before_a_restore_is_alive_and_nobody_is_kept_out(database) {
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        let by_invitation = [("AUTH__REGISTRATION".to_owned(), "invite".to_owned())];
        let by_invitation: Vec<_> = auth.settings.iter().cloned().chain(by_invitation).collect();
        let invite = || good(&run("auth-service", &["user", "invite"], &by_invitation));
        let (leaked, _) = (invite(), invite());
        // A key set that was fetched a moment ago is fetched again soon.
        let mut resource = Service::resource(&auth, &[("RESOURCE__KEYS__REFRESH_SECONDS", "1")]);
        resource.start().await;
        let ended = auth.newcomer("ada").await;
        let stayed = auth.login("ada").await;
        let grace = auth.newcomer("grace").await;
        let backup = Backup::of(&database, &auth).await;

        let id = leaked.split('\t').next().expect("an id");
        good(&run("auth-service", &["user", "uninvite", id], &by_invitation));
        // What is not in the backup: ends, rotations, versions, a user, and a key in the place of another.
        auth.logout(&ended.refresh).await;
        let rotated = Tokens::of(&auth.refresh(&stayed.refresh).await);
        for _ in 0..3 {
            let tokens = auth.login("ada").await;
            let body = json!({"refresh_token": tokens.refresh, "sessions": "all"});
            assert_eq!(auth.post("/logout", &body).await.status, 204);
        }
        change_password(&auth, &grace, "another ordinary sentence").await;
        let unknown = auth.newcomer("bob").await;
        good(&run("auth-service", &["keys", "revoke", &key_of(&unknown)], &auth.settings));
        let mut late = auth.login("bob").await;
        until("the key is replaced", async || {
            late = auth.login("bob").await;
            resource.whoami(&late.access).await.status == 200
        }).await;
        assert_ne!(key_of(&late), key_of(&unknown));
        let of_ada = auth.login("ada").await;
        accepted(&resource, &of_ada, "the last one before").await;

        stop(&mut auth).await;
        backup.restore(&auth).await;
        let settings = auth.settings.clone();
        if database.kind() == Kind::Sqlite {
            // Whatever started a service now would have it serve what had ended.
            for command in [&["serve"][..], &["doctor"]] {
                refused_as_restored(&run("auth-service", command, &settings));
            }
        }
        let end_all = || run("auth-service", &["session", "end-all", "--after-restore"], &settings);
        let said = good(&end_all());
        assert!(said.contains("2 users, 2 keys replaced, 2 invitations"), "{said}");
        let open = "select count(*) from invitations where revoked_at is null and used_at is null";
        assert_eq!(database.number(open).await, 0);
        auth.start().await;

        for user in ["ada", "grace"] {
            let tokens = auth.login(user).await;
            accepted(&resource, &tokens, user).await;
            assert_eq!(auth.refresh(&tokens.refresh).await.status, 200, "{user}");
        }
        auth.register("bob").await;
        let old = [&ended, &stayed, &rotated, &grace, &unknown, &late, &of_ada];
        for (number, tokens) in old.into_iter().enumerate() {
            until("a token of before is refused", async || {
                resource.whoami(&tokens.access).await.status == 401
            }).await;
            assert_eq!(auth.get_as(&tokens.access, "/me").await.status, 401, "{number}");
            assert_eq!(auth.refresh(&tokens.refresh).await.status, 401, "{number}");
        }
        let told = "select count(*) from events where kind = 'ended-after-restore'";
        assert_eq!(database.number(told).await, 1);
        let ada = auth.login("ada").await;
        let events = auth.get_as(&ada.access, "/sessions/events").await.json();
        let events = events["events"].as_array().expect("events").clone();
        assert!(events.iter().any(|one| one["kind"] == "all-sessions-ended" && one["reason"] == "admin"));

        // Once more, and beside a service that runs.
        good(&end_all());
        until("it ends what was opened since", async || {
            resource.whoami(&ada.access).await.status == 401
        }).await;
        until("and nobody is kept out", async || {
            let tokens = auth.login("ada").await;
            resource.whoami(&tokens.access).await.status == 200
        }).await;
        stop(&mut auth).await;
        backup.clear_up().await;
    }

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

/// A database on SQLite with Ada in it, and its service, which runs.
struct Scene {
    database: Database,
    auth: Service,
    copies: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let database = Database::create(Kind::Sqlite).await;
        let mut auth = Service::auth(&database.url, &[]);
        auth.start().await;
        auth.register("ada").await;
        Self { database, auth, copies: tempfile::tempdir().expect("a directory") }
    }

    fn run(&self, command: &str, file: &Path) -> Output {
        run("auth-service", &[command, file.to_str().expect("text")], &self.auth.settings)
    }

    fn copy(&self, name: &str) -> PathBuf {
        self.copies.path().join(name)
    }

    fn file(&self) -> PathBuf {
        PathBuf::from(self.database.url.strip_prefix("sqlite:").expect("a file"))
    }

    /// Whether only the database is there, with what SQLite keeps beside it.
    fn is_alone(&self) -> bool {
        let entries = fs::read_dir(self.file().parent().expect("a directory")).expect("readable");
        let mut names = entries.map(|entry| entry.expect("an entry").path());
        names.all(|it| ["", "-wal", "-shm"].map(|more| self.beside(more)).contains(&it))
    }

    fn beside(&self, more: &str) -> PathBuf {
        PathBuf::from(format!("{}{more}", self.file().display()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_private_and_never_in_the_place_of_a_file() {
    let mut scene = Scene::new().await;
    let (one, two) = (scene.copy("one"), scene.copy("two"));
    let said = good(&scene.run("backup", &one));
    assert!(said.contains("1 users"), "{said}");
    assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&one).unwrap();
    bad(&scene.run("backup", &one), "is there already; name another file");
    assert_eq!(fs::read(&one).unwrap(), before);

    fs::write(scene.copy("two.unfinished"), "").unwrap();
    bad(&scene.run("backup", &two), "remove it if none does");
    bad(&scene.run("backup", &scene.copy("nowhere/two")), "No such file");
    assert_eq!(fs::read_dir(scene.copies.path()).unwrap().count(), 2, "nothing is left behind");

    // What is only in the log of the database is in the backup, also after its service was killed.
    scene.auth.register("grace").await;
    scene.auth.kill();
    assert!(fs::metadata(scene.beside("-wal")).unwrap().len() > 0);
    let said = good(&scene.run("backup", &scene.copy("three")));
    assert!(said.contains("2 users"), "{said}");
    fs::remove_file(scene.file()).unwrap();
    bad(&scene.run("backup", &two.with_extension("other")), "No such file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_in_use_is_not_replaced() {
    let mut scene = Scene::new().await;
    let backup = scene.copy("backup");
    good(&scene.run("backup", &backup));
    scene.auth.register("grace").await;
    let in_use = "is in use; stop every auth-service";
    bad(&scene.run("restore", &backup), in_use);
    scene.auth.pause();
    bad(&scene.run("restore", &backup), in_use);
    scene.auth.resume();
    assert_eq!(scene.auth.login("grace").await.json["token_type"], "Bearer");
    // Also where somebody took the database away, which the service goes on with.
    let away = scene.beside(".away");
    fs::rename(scene.file(), &away).unwrap();
    bad(&scene.run("restore", &backup), in_use);
    assert!(scene.beside("-wal").exists() && scene.beside("-shm").exists());
    fs::rename(&away, scene.file()).unwrap();
    assert_eq!(scene.auth.login("grace").await.json["token_type"], "Bearer");
    // And a name that leads to it is no way around what is beside it.
    let link = scene.copy("link");
    std::os::unix::fs::symlink(scene.file(), &link).unwrap();
    bad(&scene.run("restore", &link), "lacks what is in the file -wal");
    stop(&mut scene.auth).await;
    assert!(scene.is_alone());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_another_program_wrote_is_no_mark_and_stays() {
    let mut scene = Scene::new().await;
    for (write, number) in [("pragma user_version = 1", 1), ("pragma user_version = -7", -7)] {
        stop(&mut scene.auth).await;
        scene.database.execute(write).await;
        let end_all = ["session", "end-all", "--after-restore"];
        good(&run("auth-service", &end_all, &scene.auth.settings));
        let kept = "select user_version from pragma_user_version";
        assert_eq!(scene.database.number(kept).await, number);
        scene.auth.start().await;
        scene.auth.login("ada").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_backup_takes_nobodys_place() {
    let mut scene = Scene::new().await;
    let backup = scene.copy("backup");
    good(&scene.run("backup", &backup));
    stop(&mut scene.auth).await;
    let before = fs::read(scene.file()).unwrap();
    let refused = |file: &Path, part: &str| {
        bad(&scene.run("restore", file), part);
        assert_eq!(fs::read(scene.file()).unwrap(), before, "{}", file.display());
        assert!(scene.is_alone(), "{}", file.display());
    };
    refused(&scene.copy("nothing"), "No such file");
    for text in ["", "no database at all, only a text that somebody put there"] {
        fs::write(scene.copy("text"), text).unwrap();
        refused(&scene.copy("text"), "use another backup");
    }
    let mut cut = fs::read(&backup).unwrap();
    cut.truncate(cut.len() / 2);
    fs::write(scene.copy("cut"), cut).unwrap();
    refused(&scene.copy("cut"), "use another backup");

    let changed = async |name: &str, sql: &'static str| {
        let file = scene.copy(name);
        fs::copy(&backup, &file).unwrap();
        let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
        pool.execute(sql).await.unwrap();
        pool.close().await;
        file
    };
    let foreign = changed("foreign", "drop table _sqlx_migrations").await;
    refused(&foreign, "use another backup");
    let other =
        changed("other", "update _sqlx_migrations set checksum = x'00' where version = 3").await;
    refused(&other, "migration 3 is not this program's");
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
        values (9999, 'later', true, x'00', 0)";
    refused(&changed("newer", newer).await, "use the version of auth-service that made it");
    let partial = scene.copy("partial");
    fs::copy(&backup, &partial).unwrap();
    fs::write(scene.copy("partial-wal"), "something").unwrap();
    refused(&partial, "auth-service backup");

    let postgres =
        [("AUTH__DATABASE__URL".to_owned(), "postgres://127.0.0.1:1/latchkey".to_owned())];
    let mut settings = scene.auth.settings.clone();
    settings.retain(|(name, _)| name != "AUTH__DATABASE__URL");
    settings.extend(postgres);
    for command in ["backup", "restore"] {
        let file = backup.to_str().unwrap();
        bad(&run("auth-service", &[command, file], &settings), "docs/backup.md");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_a_restore_is_kept_and_nothing_of_it_is_mixed_in() {
    let mut scene = Scene::new().await;
    let backup = scene.copy("backup");
    good(&scene.run("backup", &backup));
    // Grace is only in the log that a killed service leaves.
    scene.auth.register("grace").await;
    scene.auth.kill();
    assert!(fs::metadata(scene.beside("-wal")).unwrap().len() > 0);
    let said = good(&scene.run("restore", &backup));
    let kept = scene.beside(".before-restore-1");
    for part in ["1 users", &kept.display().to_string(), "session end-all --after-restore"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(fs::metadata(scene.file()).unwrap().permissions().mode() & 0o777, 0o600);
    let users = "select count(*) from users";
    assert_eq!(scene.database.number(users).await, 1);
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", kept.display())).await.unwrap();
    let before: i64 = sqlx::query_scalar(users).fetch_one(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(before, 2, "what was there is whole");

    // A damaged database is no hindrance, nor is one that is gone.
    fs::write(scene.file(), "ruins").unwrap();
    let said = good(&scene.run("restore", &backup));
    assert!(said.contains(".before-restore-2"), "{said}");
    assert_eq!(fs::read(scene.beside(".before-restore-2")).unwrap(), b"ruins");
    fs::remove_file(scene.file()).unwrap();
    fs::write(scene.beside("-wal"), "of nobody").unwrap();
    let said = good(&scene.run("restore", &backup));
    assert!(!said.contains("what was there before"), "{said}");
    assert!(!scene.beside("-wal").exists());
    // The mark goes along into a backup of it, and a migration does not take it away.
    let again = scene.copy("again");
    good(&scene.run("backup", &again));
    fs::copy(&again, scene.file()).unwrap();
    good(&run("auth-service", &["migrate"], &scene.auth.settings));
    refused_as_restored(&run("auth-service", &["serve"], &scene.auth.settings));
    good(&run("auth-service", &["session", "end-all", "--after-restore"], &scene.auth.settings));
    scene.auth.start().await;
    scene.auth.login("ada").await;
}
