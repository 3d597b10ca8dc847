//! Rules that the code keeps, so that what the documents say of it stays true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::service::run;

/// What serves, as opposed to what tests and helps developers.
pub(crate) const PRODUCT: [&str; 7] =
    ["auth-service", "claims", "hosting", "problem", "resource-service", "standalone", "verifier"];

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository is there")
}

/// Every file below `directory` that git does not ignore, with its path from the top.
pub(crate) fn files(directory: &str) -> Vec<(String, PathBuf)> {
    let root = root();
    let ignored = fs::read_to_string(root.join(".gitignore")).expect("a .gitignore");
    let mut ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    ignored.push(".git");
    let mut found = Vec::new();
    let mut left = vec![root.join(directory)];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let name = entry.file_name().into_string().expect("text");
            if ignored.contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            } else {
                let path = entry.path();
                let from_top = path.strip_prefix(&root).expect("below the top");
                found.push((from_top.to_str().expect("text").to_owned(), path));
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sources of some crates, each without its tests.
pub(crate) fn sources(crates: &[&str]) -> Vec<(String, String)> {
    let all = crates.iter().flat_map(|name| files(&format!("crates/{name}/src")));
    let sources = all.filter(|(name, _)| Path::new(name).extension().is_some_and(|it| it == "rs"));
    sources
        .map(|(name, path)| {
            let text = fs::read_to_string(path).expect("text");
            let code = text.split("#[cfg(test)]").next().expect("a beginning");
            (name, code.to_owned())
        })
        .collect()
}

/// Without comments.
pub(crate) fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The files whose code has one of these words.
fn naming(crates: &[&str], words: &[&str]) -> BTreeSet<String> {
    let all = sources(crates).into_iter();
    let found = all.filter(|(_, text)| words.iter().any(|word| code(text).contains(word)));
    found.map(|(name, _)| name.trim_start_matches("crates/").to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn tree(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "--locked", "--prefix", "none"]).args(arguments);
    let output = command.current_dir(root()).output().expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The names of all crates that `package` is built from.
fn dependencies(package: &str) -> BTreeSet<String> {
    let tree = tree(&["-p", package, "-e", "normal"]);
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn only_the_edges_know_the_web_framework() {
    let naming = naming(&PRODUCT, &["actix_web", "actix_cors"]);
    let (http, others): (Vec<_>, Vec<_>) =
        naming.into_iter().partition(|name| name.starts_with("auth-service/src/http/"));
    assert!(http.len() > 5, "{http:?}");
    let expected = set(&[
        "auth-service/src/application.rs",
        "auth-service/src/error.rs",
        "auth-service/src/http.rs",
        "hosting/src/answers.rs",
        "hosting/src/body.rs",
        "hosting/src/cors.rs",
        "hosting/src/docs.rs",
        "hosting/src/routes.rs",
        "hosting/src/server.rs",
        "hosting/src/telemetry.rs",
        "hosting/src/traceparent.rs",
        "hosting/src/traces.rs",
        "problem/src/actix.rs",
        "resource-service/src/application.rs",
        "resource-service/src/routes.rs",
        "verifier/src/actix.rs",
    ]);
    assert_eq!(others.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// F-C4: one grammar, one parser. The other file lists the header among those that pages may send.
#[test]
fn only_the_verifier_reads_the_authorization_header() {
    let expected = set(&["hosting/src/cors.rs", "verifier/src/actix.rs", "verifier/src/axum.rs"]);
    let naming = naming(&PRODUCT, &["AUTHORIZATION", "\"authorization\""]);
    assert_eq!(naming, expected);
}

#[test]
fn only_the_store_knows_the_database() {
    let naming = naming(&PRODUCT, &["sqlx::"]);
    assert!(naming.len() > 2, "{naming:?}");
    assert!(naming.iter().all(|name| name.starts_with("auth-service/src/store")), "{naming:?}");
}

/// Two do different things with it, each on connections of its own: what one waits for must not hold
/// the other up.
#[test]
fn only_what_writes_the_blacklist_and_what_counts_attempts_know_redis() {
    let expected = set(&[
        "auth-service/src/limits/shared.rs",
        "auth-service/src/redis/client.rs",
        "auth-service/src/revocation/blacklist.rs",
    ]);
    // Not the room of ours that has its name.
    let naming = naming(&PRODUCT, &["use redis::", " redis::", "(redis::", "<redis::"]);
    assert_eq!(naming, expected);
}

const STORE: &str = "crates/auth-service/src/store";

/// Its connections are guarded. A transaction of sqlx's own that is dropped half-way poisons its
/// connection. The one of the migrations of SQLite has a connection that serves nobody afterwards.
#[test]
fn only_one_file_of_the_store_begins_a_transaction() {
    let seam = format!("{STORE}/transaction.rs");
    let migrating = format!("{STORE}/sqlite/migrating.rs");
    // A connection that no pool has: of the look at the start, and of whoever holds the lock for a migration.
    let words = format!("{STORE}/sending.rs");
    let apart = ["pooling.rs", "migrating.rs"].map(|name| format!("{STORE}/postgres/{name}"));
    let (mut looked_at, mut begins) = (0, 0);
    for (name, text) in sources(&["auth-service"]) {
        if !name.starts_with(STORE) {
            continue;
        }
        let code = code(&text);
        assert!(!code.contains("(BEGIN)") || apart.contains(&name), "BEGIN in {name}");
        let code = code.to_lowercase();
        if name == words || name == seam {
            begins += code.matches("\"begin").count();
            continue;
        }
        looked_at += 1;
        if name == migrating {
            assert_eq!(code.matches(".begin_with(").count(), 1, "{name}");
            continue;
        }
        let statements =
            ["\"begin", "\"start transaction", "\"savepoint", "\"commit", "\"rollback"];
        let of_sqlx = [".begin()", ".begin_with(", "transaction::begin", "sqlx::transaction"];
        for word in statements.into_iter().chain(of_sqlx) {
            assert!(!code.contains(word), "{word} in {name}");
        }
    }
    assert!(looked_at >= 10, "{looked_at}");
    assert_eq!(begins, 2, "once on each database");
}

/// Traces name the verb that asks the database.
#[test]
fn a_verb_of_the_store_gives_its_own_name() {
    let mut verbs = BTreeSet::new();
    for (name, text) in sources(&["auth-service"]) {
        if !name.starts_with(&format!("{STORE}/")) {
            continue;
        }
        let code = code(&text);
        for call in ["self.read(", "self.write(", "self.transaction(", "self.run("] {
            for (at, _) in code.match_indices(call) {
                let own = code[..at].rsplit(" fn ").next().expect("a function");
                let own = own.split(['(', '<']).next().expect("a name");
                let given = code[at + call.len()..].trim_start().strip_prefix('"');
                let given = given.and_then(|given| given.split('"').next());
                assert_eq!(given, Some(own), "{name}");
                verbs.insert(own.to_owned());
            }
        }
    }
    assert!(verbs.len() > 50, "{verbs:?}");
}

/// They stop at the first row, and then a failed commit goes unnoticed.
#[test]
fn a_write_on_sqlite_is_never_run_with_fetch_one_or_fetch_optional() {
    const BAD: [&str; 3] = [".fetch_one(", ".fetch_optional(", ".fetch("];
    // What is written for both databases has no other way than this one.
    let seam = code(&read(&format!("{STORE}/transaction.rs")));
    assert!(seam.contains(".execute(") && seam.contains(".fetch_all("));
    for bad in BAD {
        assert!(!seam.contains(bad), "{bad}");
    }
    let mut writes = 0;
    for (name, text) in sources(&["auth-service"]) {
        if !name.starts_with(STORE) || name.contains("store/postgres") {
            continue;
        }
        let code = code(&text).to_lowercase();
        writes += code.matches("tx.execute(").count() + code.matches("self.write(").count();
        for statement in code.split("query(").skip(1) {
            let statement = statement.split(".await").next().expect("a beginning");
            if ["insert into", "update ", "delete from"].iter().any(|it| statement.contains(it)) {
                for bad in BAD {
                    assert!(!statement.contains(bad), "{bad} in {name}: {statement}");
                }
            }
        }
    }
    assert!(writes > 20, "{writes}");
}

#[test]
fn only_the_clock_reads_the_time() {
    let wall = ["SystemTime", "clock_gettime", "OffsetDateTime::now", "Utc::now", "UNIX_EPOCH"];
    assert_eq!(naming(&PRODUCT, &wall), set(&["verifier/src/clock.rs"]));
    // Timers, and how long an answer took; nothing is judged by them.
    let expected = set(&[
        "auth-service/src/background/supervisor.rs",
        "auth-service/src/cli/calibrate.rs",
        "auth-service/src/passwords/pool.rs",
        "auth-service/src/revocation/feed.rs",
        "auth-service/src/store/postgres/pool.rs",
        "hosting/src/answers.rs",
        "hosting/src/connection/collect.rs",
        "hosting/src/connection/exchange.rs",
        "hosting/src/connection/timer.rs",
        "hosting/src/connection/worker.rs",
        "hosting/src/outage.rs",
        "hosting/src/repeats.rs",
        "hosting/src/traces/queue.rs",
        "verifier/src/follow/keys.rs",
    ]);
    assert_eq!(naming(&PRODUCT, &["Instant::now"]), expected);
}

/// What is to run for ever is kept by the supervisor: nobody waits for it, so nobody would notice that
/// it has ended. The others end with the one thing that they do.
/// `Authenticated` is made by authenticators only, which its private fields see to. These are the two
/// things that demand it, and the store, which stands below the policy and cannot name it, must be asked
/// for them by nobody else.
#[test]
fn a_session_is_opened_and_a_password_changed_only_for_whoever_was_authenticated() {
    for (word, policy) in [("NewSession {", "logins"), ("NewPassword {", "accounts")] {
        let policy = format!("auth-service/src/policy/{policy}.rs");
        let expected = set(&[&policy, "auth-service/src/store/records.rs"]);
        assert_eq!(naming(&["auth-service"], &[word]), expected, "{word}");
    }
    for (name, word) in
        [("logins.rs", "mut who: Authenticated,"), ("accounts.rs", "owner: &Authenticated,")]
    {
        let text = read(&format!("crates/auth-service/src/policy/{name}"));
        assert!(text.contains(word), "{name} no longer demands it");
    }
    let methods = naming(&["auth-service"], &["\"pwd"]);
    assert_eq!(methods, set(&["auth-service/src/identity/amr.rs"]), "words of RFC 8176");
}

#[test]
fn only_the_supervisor_starts_what_runs_for_ever() {
    let naming = naming(&["auth-service"], &["tokio::spawn(", "runtime.spawn("]);
    let naming: Vec<_> =
        naming.iter().filter(|name| !name.starts_with("auth-service/src/store/")).collect();
    let expected = [
        "auth-service/src/background/supervisor.rs",
        "auth-service/src/limits/counter.rs",
        "auth-service/src/limits/looks.rs",
        "auth-service/src/limits/shared.rs",
        "auth-service/src/policy/authentication/password.rs",
    ];
    assert_eq!(naming, expected);
}

#[test]
fn randomness_for_secrets_is_drawn_in_few_places() {
    let expected = set(&[
        "auth-service/src/identity/random.rs",
        "auth-service/src/cli/secrets.rs",
        "standalone/src/main.rs",
        "verifier/src/follow/fetch.rs",
    ]);
    assert_eq!(naming(&PRODUCT, &["rand::fill"]), expected);
}

#[test]
fn the_resource_service_is_built_without_database_and_without_auth_service() {
    let manifest = read("crates/resource-service/Cargo.toml");
    let built_from = dependencies("resource-service");
    assert!(built_from.contains("latchkey-verifier"));
    for name in ["sqlx", "redis", "auth-service"] {
        assert!(!manifest.contains(name), "{name}");
        let found: Vec<_> = built_from.iter().filter(|one| one.starts_with(name)).collect();
        assert_eq!(found, [""; 0]);
    }
}

#[test]
fn the_auth_service_has_a_client_for_http_in_its_commands_only() {
    let built_from = dependencies("auth-service");
    assert!(built_from.contains("sqlx") && built_from.contains("latchkey-verifier"));
    let asks = naming(&["auth-service"], &["reqwest", "hyper::"]);
    assert!(asks.len() > 2, "{asks:?}");
    assert!(asks.iter().all(|name| name.starts_with("auth-service/src/cli/remote")), "{asks:?}");
    let features = tree(&["-p", "auth-service", "-e", "features,no-dev"]);
    assert!(features.contains("latchkey-verifier feature \"actix\""));
    assert!(!features.contains("latchkey-verifier feature \"follow\""));
    assert!(!features.contains("sqlx feature \"macros\""));
    assert!(!features.contains("actix-web feature \"http2\""));
}

#[test]
fn the_contract_is_built_without_anything_that_waits() {
    let built_from = dependencies("latchkey-claims");
    for name in ["tokio", "actix-web", "reqwest", "sqlx", "jsonwebtoken", "aws-lc-rs"] {
        assert!(!built_from.contains(name), "{name}");
    }
    let verifier = tree(&["-p", "latchkey-verifier", "-e", "normal", "--no-default-features"]);
    for name in ["reqwest ", "actix-web ", "sqlx ", "utoipa "] {
        assert!(!verifier.lines().any(|line| line.starts_with(name)), "{name}");
    }
    for name in ["ring", "openssl", "rsa", "h2"] {
        assert!(!dependencies("standalone").contains(name), "{name}");
    }
}

/// What serves has the documentation as text.
#[test]
fn nothing_that_serves_can_make_documentation() {
    for package in ["standalone", "auth-service", "resource-service"] {
        assert!(!dependencies(package).contains("openapi"), "{package}");
    }
    assert!(!dependencies("hosting").contains("utoipa"));
    assert_eq!(naming(&PRODUCT, &["utoipa::openapi", "<!doctype"]), set(&[]));
}

/// Whatever is around the routes is the same for a service that accepts no tokens.
#[test]
fn what_is_around_the_routes_does_not_know_the_verifier() {
    let built_from = dependencies("hosting");
    assert!(built_from.contains("latchkey-problem") && !built_from.contains("latchkey-verifier"));
    let problem = dependencies("latchkey-problem");
    let ours: Vec<_> = problem.iter().filter(|one| one.starts_with("latchkey-")).collect();
    assert_eq!(ours, ["latchkey-problem"]);
}

/// Whoever verifies tokens with the library is asked for a few crates, and its spans are plain ones of `tracing`.
#[test]
fn only_what_is_around_the_routes_knows_opentelemetry() {
    let naming = naming(&PRODUCT, &["opentelemetry"]);
    assert!(naming.len() > 2, "{naming:?}");
    assert!(naming.iter().all(|name| name.starts_with("hosting/src/traces")), "{naming:?}");
    let verifier = tree(&["-p", "latchkey-verifier", "-e", "normal", "--all-features"]);
    assert!(verifier.contains("tracing") && !verifier.contains("opentelemetry"));
    let standalone = dependencies("standalone");
    assert!(standalone.contains("opentelemetry-otlp") && !standalone.contains("tonic"));
}

/// Whoever uses a library by path has another workspace's Cargo.toml above it, and cargo would look there
/// for what is inherited. What is said twice for that reason is the same; only that everything public of a
/// library is described is asked of libraries alone.
#[test]
fn a_published_library_inherits_nothing_from_the_workspace() {
    fn key(line: &str) -> Option<(&str, &str)> {
        let (name, value) = line.split_once(" = ")?;
        let value = value.split_once("version = ").map_or(value, |(_, version)| version);
        let version = value.strip_prefix('"')?.split('"').next()?;
        Some((name, version))
    }
    let workspace = read("Cargo.toml");
    let wanted: BTreeMap<_, _> = workspace.lines().filter_map(key).collect();
    for name in ["claims", "problem", "verifier"] {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        assert!(!manifest.contains("workspace = true"), "{name}");
        let mut compared = 0;
        for (key, version) in manifest.lines().filter_map(key) {
            if let Some(wanted) = wanted.get(key) {
                assert_eq!(version, *wanted, "{key} of {name}");
                compared += 1;
            }
        }
        assert!(compared > 5, "{name}: {compared}");
        let lints = |text: &str| {
            let lints = text.lines().skip_while(|line| !line.contains("lints.rust]"));
            let lints =
                lints.take_while(|line| !line.starts_with("[profile") && *line != "[features]");
            let lints = lints.filter(|line| line.contains(" = ")).map(str::to_owned);
            lints.collect::<BTreeSet<_>>()
        };
        let mut wanted = lints(&workspace);
        assert!(wanted.len() > 6);
        assert!(wanted.insert(r#"missing_docs = "warn""#.to_owned()));
        assert_eq!(lints(&manifest), wanted, "{name}");
    }
}

#[test]
fn both_databases_have_migrations_of_the_same_names() {
    let names = |kind: &str| -> Vec<String> {
        let directory = format!("migrations/{kind}/");
        files(&directory).iter().map(|(name, _)| name.replace(&directory, "")).collect()
    };
    assert!(!names("postgres").is_empty());
    assert_eq!(names("postgres"), names("sqlite"));
    let store = read("crates/auth-service/src/store/migrations.rs");
    for name in names("sqlite") {
        let count = store.matches(&format!("/{name}\"")).count();
        assert_eq!(count, 2, "{name} is compiled in for both");
    }
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    let mut crates = PRODUCT.to_vec();
    crates.extend(["testbed", "trials", "xtask"]);
    for (name, text) in sources(&crates) {
        let lines = text.lines().count();
        assert!(lines <= 400, "{name} has {lines} lines without its tests");
    }
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    for (name, path) in files("") {
        // Paths in an image are not this machine's.
        let image = ["Dockerfile", "docker-compose.yml", ".dockerignore"].contains(&name.as_str());
        let Ok(text) = fs::read_to_string(path) else { continue };
        for place in places.iter().filter(|_| !image) {
            assert!(!text.contains(place), "{place} in {name}");
        }
    }
}

/// The settings of a defaults.toml, as `section.key`, each with whether a comment stands above it.
fn settings(service: &str) -> Vec<(String, bool)> {
    let text = read(&format!("crates/{service}/src/defaults.toml"));
    let (mut section, mut explained, mut all) = (String::new(), false, Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if let Some((key, _)) = line.split_once(" = ") {
            all.push((format!("{section}{key}"), explained));
        } else {
            explained = false;
        }
    }
    all
}

/// Their names.
pub(crate) fn setting_names(service: &str) -> Vec<String> {
    settings(service).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn every_setting_is_explained_above_its_default() {
    for service in ["auth-service", "resource-service"] {
        let settings = settings(service);
        assert!(settings.len() > 8);
        for (key, explained) in settings {
            assert!(explained, "{key} of {service}");
        }
    }
}

/// The variables of .env.example; with those that are commented out.
fn example() -> Vec<(String, String, bool)> {
    let text = read(".env.example");
    let lines = text.lines().map(str::trim);
    let variables = lines.filter_map(|line| {
        let (name, value) = line.trim_start_matches('#').split_once('=')?;
        let ours = name.starts_with("AUTH__") || name.starts_with("RESOURCE__");
        ours.then(|| (name.to_owned(), value.to_owned(), !line.starts_with('#')))
    });
    variables.collect()
}

#[test]
fn the_example_settings_are_good_settings() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secrets = directory.path().join("secrets");
    let secrets = secrets.to_str().expect("text");
    assert!(run("auth-service", &["secrets", secrets], &[]).status.success());
    let set: Vec<_> = example()
        .into_iter()
        .filter(|(_, _, set)| *set)
        .map(|(name, value, _)| (name, value.replace("./secrets", secrets)))
        .collect();
    assert!(set.len() > 4, "{set:?}");
    let auth = auth_service::Config::load(None, set.clone()).expect("good settings");
    let resource = resource_service::Config::load(None, set).expect("good settings");
    assert_eq!(auth.issuer, resource.issuer);
    assert!(auth.tokens.audience.contains(&resource.audience));
}

#[test]
fn the_example_names_settings_that_exist() {
    let (auth, resource) = (setting_names("auth-service"), setting_names("resource-service"));
    for (name, _, _) in example() {
        let known = if name.starts_with("AUTH__") { &auth } else { &resource };
        let (_, key) = name.split_once("__").expect("a prefix");
        let key = key.trim_end_matches("_FILE").replace("__", ".").to_lowercase();
        assert!(known.contains(&key), "{name}");
    }
}
