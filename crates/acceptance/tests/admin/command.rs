//! The command line with `--url`: the same commands, and the same output, without the database.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};

use serde_json::json;
use tempfile::TempDir;
use testbed::service::run;
use testbed::{PASSWORD, World, on_both_databases, process};

use crate::support::{ALL, NOBODY, login_for, prepare, root, somebody};

/// A file with a token, for its owner alone.
struct TokenFile(TempDir);

impl TokenFile {
    fn of(token: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = Self(directory);
        fs::write(file.path(), format!("{token}\n")).expect("it can be written");
        file.mode(0o600);
        file
    }

    fn path(&self) -> String {
        self.0.path().join("token").display().to_string()
    }

    fn mode(&self, mode: u32) {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).expect("a mode");
    }
}

/// Runs a command by HTTP, with nothing of the settings, and a line on standard input.
fn remote(world: &World, token: &TokenFile, arguments: &[&str], line: &str) -> Output {
    let path = token.path();
    let mut all = vec!["--url", &world.internal, "--token-file", &path];
    all.extend(arguments);
    fed(&all, &[], line)
}

fn fed(arguments: &[&str], settings: &[(String, String)], line: &str) -> Output {
    let mut command = process::command("auth-service", arguments, settings);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.env("RUST_LOG", "off").spawn().expect("it starts");
    // What asks for nothing may be over by now.
    let _ = writeln!(child.stdin.take().expect("a pipe"), "{line}");
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[track_caller]
fn bad(output: &Output, part: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it went well");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(part), "{part} is not in {said}");
}

on_both_databases! {
    async fn every_command_prints_the_same_by_http_as_with_the_database(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        let token = TokenFile::of(&tokens.access);
        let both = |arguments: &[&str]| {
            let with = good(&run("auth-service", arguments, &world.auth_settings()));
            let by_http = good(&remote(&world, &token, arguments, ""));
            assert_eq!(by_http, with, "{arguments:?}");
            with
        };
        let id = good(&remote(&world, &token, &["user", "create", "Ada", "--email", "ada@example.com", "--role", "x"], PASSWORD));
        let id = id.trim();
        let list = both(&["user", "list"]);
        assert!(list.contains(&format!("{id}\tAda\tada@example.com\tx\tenabled\t")), "{list}");
        for user in [&format!("id:{id}"), "name:ada", "email:ADA@example.com", "ada"] {
            world.login("ada").await;
            assert!(!both(&["session", "list", user]).is_empty());
        }
        for list in [
            &["user", "list", "--search", "a"][..], &["user", "list", "--limit", "1"], &["user", "list", "--after", id],
            &["user", "list", "--search", "zz"], &["user", "show", "ada"], &["user", "export", "root"],
        ] {
            both(list);
        }
        let by_id = format!("id:{id}");
        both(&["user", "rename", &by_id, "Augusta"]);
        both(&["user", "rename", &by_id, "ada"]);
        both(&["user", "set-email", &by_id, "augusta@example.com"]);
        both(&["user", "set-email", &by_id, "--none"]);
        both(&["user", "roles", "ada", "editor", "auditor"]);
        both(&["user", "roles", "ada", "--none"]);
        both(&["user", "disable", "ada"]);
        both(&["user", "enable", "ada"]);
        both(&["session", "revoke", "--all-of", "ada"]);
        let ada = world.login("ada").await;
        both(&["session", "revoke", &ada.session]);
        world.refresh(&ada.refresh).await.assert_problem(401, "session-revoked");
        both(&["user", "invitations"]);
        both(&["keys", "list"]);
        let said = good(&remote(&world, &token, &["user", "set-password", "ada"], "another ordinary sentence"));
        assert_eq!(said, format!("{id} has the new password; every session is over\n"));
        let said = good(&remote(&world, &token, &["keys", "rotate"], ""));
        assert_eq!(said, good(&run("auth-service", &["keys", "rotate"], &world.auth_settings())), "it is published already");
        let said = good(&remote(&world, &token, &["keys", "rotate", "--purpose", "refresh", "--now"], ""));
        let key = said.split(' ').next().expect("an id").to_owned();
        assert_eq!(said, format!("{key} is active\n"));
        both(&["keys", "revoke", &key]);
        let said = good(&remote(&world, &token, &["user", "delete", "ada"], ""));
        assert!(said.starts_with(&format!("{id} is deleted; every session is over")), "{said}");
    }

    async fn what_is_refused_is_told_in_one_line(world) {
        prepare(&mut world, &[]).await;
        let (_, tokens) = root(&world).await;
        somebody(&world, "sue", &["support"]).await;
        let token = TokenFile::of(&tokens.access);
        bad(&remote(&world, &token, &["user", "disable", "nobody"], ""), "no such user");
        bad(&remote(&world, &token, &["user", "disable", &format!("id:{NOBODY}")], ""), "no such user");
        bad(&remote(&world, &token, &["user", "create", "eve"], "short"), "password-policy");
        bad(&remote(&world, &token, &["user", "create", "sue"], PASSWORD), "taken");
        bad(&remote(&world, &token, &["user", "create", "eve"], ""), "no password was given");
        bad(&remote(&world, &token, &["user", "invite"], ""), "Registration is open");
        bad(&remote(&world, &token, &["user", "uninvite", "inv1.x"], ""), "no id of an invitation");
        bad(&remote(&world, &token, &["user", "import", "/dev/null"], ""), "needs the database");
        bad(&remote(&world, &token, &["keys", "reseal"], ""), "needs the database");
        bad(&remote(&world, &token, &["session", "end-all", "--after-restore"], ""), "needs the database");
        bad(&remote(&world, &token, &["doctor"], ""), "needs the database");
        bad(&remote(&world, &token, &["keys", "revoke", "nokey"], ""), "no such key");
        let unknown = ["session", "revoke", "AAAAAAAAAAAAAAAAAAAAAA"];
        bad(&remote(&world, &token, &unknown, ""), "no such session");
        let narrow = login_for(&world, "sue", &["latchkey:users:read", "latchkey:users:write"]).await;
        let narrow = TokenFile::of(&narrow.access);
        bad(&remote(&world, &narrow, &["user", "disable", "root"], ""), "more than you may");
        bad(&remote(&world, &narrow, &["keys", "list"], ""), "lacks the scope");
        let old = TokenFile::of("not.a.token");
        bad(&remote(&world, &old, &["user", "list"], ""), "log in with `resource`");
        world.clock.advance(901);
        let again = testbed::Tokens::of(&world.refresh(&tokens.refresh).await);
        let again = TokenFile::of(&again.access);
        bad(&remote(&world, &again, &["user", "list"], ""), "Log in again");
        let fresh = login_for(&world, "root", &ALL).await;
        good(&remote(&world, &TokenFile::of(&fresh.access), &["user", "list"], ""));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_nowhere_in_the_clear_and_comes_from_nowhere_in_sight() {
    let token = TokenFile::of("a.b.c");
    let file = token.path();
    for url in [
        "http://auth.example.com:9080",
        "http://192.0.2.1:9080",
        "ftp://127.0.0.1",
        "127.0.0.1:9080",
        "x",
        "http://127.0.0.1.example.com",
        "http:auth.example.com/://127.0.0.1",
        "https://auth.example.com?x=1",
        "http://user:secret@127.0.0.1:1",
        "http://127.0.0.1@auth.example.com",
    ] {
        let output = fed(&["--url", url, "--token-file", &file, "user", "list"], &[], "");
        bad(&output, "--url: must");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
    }
    token.mode(0o644);
    bad(
        &fed(&["--url", "http://127.0.0.1:1", "--token-file", &file, "user", "list"], &[], ""),
        "chmod 600",
    );
    bad(
        &fed(
            &["--url", "http://127.0.0.1:1", "--token-file", "/nowhere/at/all", "user", "list"],
            &[],
            "",
        ),
        "--token-file",
    );
    bad(
        &fed(&["--url", "http://127.0.0.1:1", "user", "list"], &[], ""),
        "there is no access token",
    );
    token.mode(0o600);
    bad(
        &fed(&["--url", "http://127.0.0.1:1", "--token-file", &file, "user", "list"], &[], ""),
        "does not answer",
    );
    let variables = [("AUTH_ADMIN_URL", "http://127.0.0.1:1"), ("AUTH_ADMIN_TOKEN", "a b")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    bad(&fed(&["keys", "list"], &variables, ""), "what is given as the access token is none");
}

/// A service for a moment, which answers only the second time: what is made is made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        let mut keys = Vec::new();
        for attempt in 0..2 {
            let (mut stream, _) = listener.accept().await.expect("it connects");
            let mut text = String::new();
            while !text.ends_with('}') {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.expect("it sends");
                text.push_str(&String::from_utf8_lossy(&part[..read]));
            }
            let key = text
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("idempotency-key: "));
            keys.push(key.expect("a key").to_owned());
            if attempt == 1 {
                let body = json!({"id": NOBODY}).to_string();
                let head = format!(
                    "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.expect("it reads");
            }
        }
        keys
    });
    let token = TokenFile::of("a.b.c");
    let file = token.path();
    let arguments =
        ["--url", &url, "--token-file", &file, "user", "create", "ada"].map(str::to_owned);
    let asking = tokio::task::spawn_blocking(move || {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        fed(&arguments, &[], PASSWORD)
    });
    assert_eq!(good(&asking.await.expect("it ends")), format!("{NOBODY}\n"));
    let keys = serving.await.expect("it ends");
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].len() > 40, "{}", keys[0]);
}
