//! docs/administration.md, as somebody pastes it.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use testbed::{Database, Kind, PASSWORD, Service, process};

/// The commands of the page, in their order.
fn script(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

/// The settings of the page, which are one block.
fn settings(page: &str) -> &str {
    let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("the page has it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_page_says_works_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/administration.md")).expect("the page");
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("auth.toml");
    fs::write(&file, settings(&page)).expect("it can be written");
    let config = auth_service::Config::load(
        Some(&file),
        [
            ("AUTH__DATABASE__URL", "sqlite:x.db"),
            ("AUTH__KEYS__MASTER_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let scopes = config.expect("the settings of the page are good").scopes;
    let table: serde_json::Map<_, _> = scopes
        .into_iter()
        .map(|(scope, rule)| (scope, serde_json::json!({ "roles": rule.roles })))
        .collect();
    let table = serde_json::Value::Object(table).to_string();

    let database = Database::create(Kind::Sqlite).await;
    let mut service = Service::auth(&database.url, &[("AUTH__SCOPES", &table)]);
    service.start().await;
    let password = place.path().join("root.password");
    fs::write(&password, format!("{PASSWORD}\n")).expect("it can be written");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("a mode");
    // Where the service is; but not the issuer, which is what it is told to be.
    let script = script(&page)
        .replace("--arg issuer http://127.0.0.1:8080", "--arg issuer ISSUER")
        .replace("http://127.0.0.1:8080", &service.public)
        .replace("http://127.0.0.1:9080", &service.internal)
        .replace("ISSUER", "http://127.0.0.1:8080");
    let program = process::command("auth-service", &[], &[]);
    let programs = Path::new(program.get_program()).parent().expect("a directory");
    let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &script]).current_dir(place.path()).env("PATH", path).env("RUST_LOG", "off");
    shell.envs(service.settings.iter().map(|(name, value)| (name, value)));
    for name in ["ROOT", "ADA", "EVE"] {
        shell.env(format!("{name}_PASSWORD"), PASSWORD);
    }
    let output = shell.output().expect("a shell");
    let (said, wrong) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{wrong}");
    let lines: Vec<_> = said.lines().collect();
    let root_id = lines[0];
    let is_there = |part: &str| assert!(said.contains(part), "{part} is not in {said}");
    is_there("\troot\t-\tadmin\tenabled\t");
    is_there("\tada\tada@example.com\teditor\tenabled\t");
    is_there("has editor");
    is_there("is disabled; every session is over");
    is_there(&format!("user-disabled\t{root_id}"));
    is_there(&format!("registered\t{root_id}"));
    // The second attempt got the answer of the first.
    let eve = lines.iter().filter(|line| line.len() == 36).skip(2).collect::<Vec<_>>();
    assert_eq!((eve.len(), eve[0]), (2, eve[1]), "{said}");
    assert_eq!(database.number("select count(*) from users").await, 3);
}
