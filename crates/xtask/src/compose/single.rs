//! The installation of docker-compose.yml: built, started, used, broken and taken down.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::images::Names;
use super::report::Report;
use super::site::{Answer, PROJECT, Site, bearer, until};
use crate::Result;

/// The first address of the network `edge`, as `.env.example` has it: from there connects whoever is on the host.
const GATEWAY: &str = "10.213.64.1";
/// A client, as a proxy on the host would tell of it.
const CLIENT: &str = "203.0.113.7";
pub(super) const DEMO: &str = r#"{"username":"demo","password":"open sesame, but only here"}"#;
/// Sixteen characters: enough where nothing is set.
const SHORT: &str = r#"{"username":"short","password":"quince vermilion"}"#;
const PEPPER: &str = "first:bm8gc2VjcmV0LCBmb3IgdGVzdHMgb2YgY29tcG9zZS4=";
const SETTINGS: &str = "\
AUTH__HTTP__TRUSTED_PROXIES=10.213.64.1
AUTH__PASSWORDS__MIN_LENGTH=20
AUTH__PASSWORDS__PEPPERS_FILE=/engine/pepper
";
/// For the second start.
const SCALED: &str = "AUTH_PORT=8090-8093\n";
/// What the walk-through prints, in this order.
const WALK: [&str; 6] =
    ["\"sub\":", "the same successor", "204", "401", "session-revoked", "\"reason\":\"logout\""];
const AUTH: &str = "latchkey-auth-service-1";
const RESOURCE: &str = "latchkey-resource-service-1";
const POSTGRES: &str = "latchkey-postgres-1";
const VOLUMES: [&str; 4] = ["auth-secrets", "feed-secrets", "postgres-secrets", "redis-secrets"];
/// For whatever is to come back by itself. It is a matter of seconds, but other parts may run beside this one.
pub(super) const LIMIT: Duration = Duration::from_mins(2);

/// All of it. What cannot go on without a step that failed is not tried.
pub(super) fn check(engine: &Engine, report: &mut Report, names: &Names) -> Result {
    fs::write(engine.home.join("pepper"), PEPPER)?;
    let services = ["http://127.0.0.1:8080", "http://127.0.0.1:8081"];
    let files = &["docker-compose.yml"];
    let site = Site::new(engine, files, "single.env", SETTINGS, services)?;
    let scaled = format!("{SETTINGS}{SCALED}");
    let scaled = Site::new(engine, files, "scaled.env", &scaled, services)?;

    site.composed(&["build"])?;
    report.step(&format!("docker compose build, on {}", names.runtime));
    sizes(&site)?;
    start(&site, &[])?;
    report.step("docker compose up --wait, to healthy");

    use_it(&site, report)?;
    settings(&site, report)?;
    report.step("walk-through, settings");
    confined(&site, report)?;
    published(&site, report)?;
    secrets(&site, report)?;
    report.step("users, capabilities, ports, secrets");
    administration(&site, report);
    report.step("admin commands");
    restarted(&site, report)?;
    crashed(&site, report)?;
    report.step("restart, kill");
    without_redis(&site, report)?;
    without_postgres(&site, report)?;
    report.step("without Redis, without Postgres");
    println!("{}", site.docker(&["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"])?);
    again(&site, &scaled, report)?;
    report.step("stop, down, up with the data and two auth-services");
    scaled.composed(&["down", "--volumes"])?;
    nothing_left(&site, report)?;
    report.step("down with the data");
    Ok(())
}

/// Starts it and waits until all is healthy; what the containers said if that does not come.
pub(super) fn start(site: &Site<'_>, more: &[&str]) -> Result {
    let arguments = ["up", "--wait", "--wait-timeout", "300"];
    let started = site.composed(&[&arguments[..], more].concat());
    started.map(drop).map_err(|error| {
        let said = site.composed(&["logs", "--no-log-prefix", "--tail", "20"]);
        format!("{error}\n{}", said.unwrap_or_default()).into()
    })
}

fn sizes(site: &Site<'_>) -> Result {
    let images = site.docker(&["images", "--format", "{{.Repository}} {{.Size}}"])?;
    for line in images.lines().filter(|line| line.starts_with(PROJECT)) {
        println!("          {line}");
    }
    Ok(())
}

/// Logs in; access and refresh token.
pub(super) fn log_in(site: &Site<'_>, more: &[&str]) -> Result<(String, String)> {
    let answer = site.post_with("/login", DEMO, more)?;
    Ok((answer.member("access_token")?, answer.member("refresh_token")?))
}

fn refresh(site: &Site<'_>, token: &str) -> Result<Answer> {
    site.post("/refresh", &format!("{{\"refresh_token\":\"{token}\"}}"))
}

fn is(answer: &Answer, status: u16) -> Result {
    if answer.status == status { Ok(()) } else { Err(answer.seen().into()) }
}

/// As the README has it.
fn use_it(site: &Site<'_>, report: &mut Report) -> Result {
    let registered = site.post("/register", DEMO)?;
    report.check("the first user registers (201)", registered.status == 201, &registered.seen());
    let mut shell = site.engine.beside("sh");
    shell.arg("crates/standalone/walkthrough.sh").current_dir(env!("CARGO_MANIFEST_DIR"));
    shell.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let output = shell.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut rest = &*said;
    for expected in WALK {
        let found = rest.split_once(expected);
        report.check(&format!("the walk-through prints {expected}"), found.is_some(), &said);
        rest = found.map_or(rest, |(_, rest)| rest);
    }
    Ok(())
}

/// That what is set in the file of settings is what the services do.
fn settings(site: &Site<'_>, report: &mut Report) -> Result {
    let short = site.post("/register", SHORT)?;
    let refused = short.status == 422 || short.status == 400;
    report.check("passwords.min_length is passed on", refused, &short.seen());
    let gateway = "{{(index .IPAM.Config 0).Gateway}}{{(index .IPAM.Config 0).Subnet}}";
    let network = format!("{PROJECT}_edge");
    let network = site.docker(&["network", "inspect", "--format", gateway, &network])?;
    let known =
        network.trim() == format!("{GATEWAY}10.213.64.0/24") || network.trim() == "10.213.64.0/24";
    report.check("the network `edge` has the addresses of .env.example", known, &network);
    let header = format!("x-forwarded-for: {CLIENT}");
    let (access, _) = log_in(site, &["--header", &header])?;
    let sessions = site.ask(&["--header", &bearer(&access), &format!("{}/sessions", site.auth)])?;
    let told = sessions.text.contains(CLIENT);
    report.check("a proxy at the gateway is believed", told, &sessions.seen());
    // One that is broken is refused by name: so the file is read.
    fs::write(site.engine.home.join("no-pepper"), "none")?;
    let broken = SETTINGS.replace("/engine/pepper", "/engine/no-pepper");
    let broken = Site::new(site.engine, &["docker-compose.yml"], "broken.env", &broken, ["", ""])?;
    let refused = broken.composed(&["run", "--rm", "--no-deps", "migrate", "user", "list"]);
    let said = refused.err().map_or_else(|| "it succeeds".to_owned(), |error| error.to_string());
    report.check("the file of peppers is read", said.contains("passwords.peppers"), &said);
    Ok(())
}

/// By what the kernel says of the first process of each container.
fn confined(site: &Site<'_>, report: &mut Report) -> Result {
    let containers = site.containers()?;
    report.check("four containers run", containers.len() == 4, &containers.join(" "));
    for name in containers {
        let pid = site.inspect(&name, "{{.State.Pid}}")?;
        let read = |file: &str| {
            super::site::output(site.engine.inside("cat").arg(format!("/proc/{pid}/{file}")))
        };
        let (status, mounts) = (read("status")?, read("mountinfo")?);
        let value = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.map_or(String::new(), |value| value.trim_start_matches(':').trim().to_owned())
        };
        let users = value("Uid");
        let root = users.split_whitespace().any(|user| user == "0") || users.is_empty();
        report.check(&format!("{name} is not root"), !root, &users);
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let set_is = value(set);
            let none = !set_is.is_empty() && set_is.bytes().all(|digit| digit == b'0');
            report.check(&format!("{name} has no capability ({set})"), none, &set_is);
        }
        let new = value("NoNewPrivs");
        report.check(&format!("{name} gets no new privileges"), new == "1", &new);
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
        let options = root.and_then(|line| line.split(' ').nth(5)).unwrap_or_default();
        let read_only = options.split(',').any(|option| option == "ro");
        report.check(&format!("the root of {name} is read-only"), read_only, options);
    }
    Ok(())
}

/// Nothing but the two public ports, and those on the loopback of the host.
fn published(site: &Site<'_>, report: &mut Report) -> Result {
    let ports = site.docker(&["ps", "--format", "{{.Ports}}"])?;
    let mut published: Vec<_> =
        ports.split([',', '\n']).map(str::trim).filter(|port| port.contains("->")).collect();
    published.sort_unstable();
    let expected = ["127.0.0.1:8080->8080/tcp", "127.0.0.1:8081->8081/tcp"];
    report.check("two ports are published, on loopback", published == expected, &ports);
    Ok(())
}

/// No secret is in what the engine tells of containers and images, or in a log.
fn secrets(site: &Site<'_>, report: &mut Report) -> Result {
    let all = site.docker(&["ps", "--all", "--quiet"])?;
    let mut told =
        site.docker(&[&["inspect"], &all.split_whitespace().collect::<Vec<_>>()[..]].concat())?;
    let images = site.docker(&["images", "--quiet", "--filter", "reference=latchkey-*"])?;
    told += &site
        .docker(&[&["inspect"], &images.split_whitespace().collect::<Vec<_>>()[..]].concat())?;
    let mut logs = site.compose(&["logs", "--no-color"]);
    told += &super::site::output(&mut logs)?;
    let mut found = vec![("pepper".to_owned(), PEPPER.to_owned())];
    for volume in VOLUMES {
        let place = site.engine.home.join(format!("data/volumes/{PROJECT}_{volume}/_data"));
        found.extend(texts(&place)?);
    }
    report.check("`init` wrote seven secrets", found.len() == 7, &found.len().to_string());
    for (name, secret) in found {
        // Of an address the password, which may be told apart from it.
        let word = secret.split_once("://").map_or(&*secret, |(_, rest)| rest);
        let word = word.split_once(':').map_or(word, |(_, rest)| rest);
        let word = word.split_once('@').map_or(word, |(password, _)| password);
        let hidden = word.len() >= 20 && !told.contains(word.trim());
        report.check(
            &format!("the secret {name} is nowhere to be read"),
            hidden,
            "it is, or is short",
        );
    }
    Ok(())
}

fn texts(place: &PathBuf) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "acl") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            texts.push((name, fs::read_to_string(&path)?.trim().to_owned()));
        }
    }
    Ok(texts)
}

/// The commands of docs/operations.md.
fn administration(site: &Site<'_>, report: &mut Report) {
    let admin = |words: &[&str]| site.composed(&[&["run", "--rm", "migrate"], words].concat());
    for (words, expected) in [
        (&["doctor"][..], "database"),
        (&["user", "list"], "demo"),
        (&["session", "list", "name:demo"], "203.0.113.7"),
        (&["keys", "list"], "active"),
    ] {
        let command = words.join(" ");
        let said = admin(words).unwrap_or_else(|error| error.to_string());
        report.check(&format!("`{command}` prints {expected}"), said.contains(expected), &said);
    }
    let revoked = admin(&["session", "revoke", "--all-of", "name:demo"]);
    report.done("`session revoke` ends the sessions", revoked);
    // Without certificate authorities an address of https is refused with the reason.
    let mut https = site.compose(&["run", "--rm", "--no-deps"]);
    for variable in [
        "SSL_CERT_FILE=/none",
        "SSL_CERT_DIR=/none",
        "RESOURCE__KEYS__JWKS_URL=https://auth.example.com/jwks",
    ] {
        https.args(["--env", variable]);
    }
    let said = super::site::output(https.arg("resource-service"));
    let said = said.err().map_or_else(|| "it serves".to_owned(), |error| error.to_string());
    let told = said.contains("certificate authorities");
    report.check("the resource-service says that authorities are missing", told, &said);
}

fn restarted(site: &Site<'_>, report: &mut Report) -> Result {
    let (access, token) = log_in(site, &[])?;
    site.composed(&["restart", "auth-service", "resource-service"])?;
    for name in [AUTH, RESOURCE] {
        report.done(&format!("{name} is healthy after a restart"), site.healthy(name, LIMIT));
    }
    let answer = refresh(site, &token)?;
    report.check("a session outlives a restart", answer.status == 200, &answer.seen());
    let answer = site.whoami(&access)?;
    report.check("an access token outlives a restart", answer.status == 200, &answer.seen());
    Ok(())
}

/// As when the kernel ends a process, which nobody asked for.
fn crashed(site: &Site<'_>, report: &mut Report) -> Result {
    let (access, token) = log_in(site, &[])?;
    for name in [AUTH, RESOURCE, POSTGRES] {
        let pid = site.inspect(name, "{{.State.Pid}}")?;
        super::site::output(site.engine.inside("bash").args(["-c", &format!("kill -9 {pid}")]))?;
        let again = until(LIMIT, || {
            let count = site.inspect(name, "{{.RestartCount}}")?;
            if count == "1" { Ok(()) } else { Err(format!("{count} restarts").into()) }
        });
        report.done(&format!("{name} is started again after a kill"), again);
        report.done(&format!("{name} is healthy after a kill"), site.healthy(name, LIMIT));
    }
    let session = until(LIMIT, || is(&refresh(site, &token)?, 200));
    report.done("a session outlives kills", session);
    report.done("an access token outlives kills", until(LIMIT, || is(&site.whoami(&access)?, 200)));
    Ok(())
}

/// Nothing depends on Redis.
fn without_redis(site: &Site<'_>, report: &mut Report) -> Result {
    site.composed(&["stop", "redis"])?;
    let (access, token) = log_in(site, &[])?;
    let answer = refresh(site, &token)?;
    report.check("a refresh works without Redis", answer.status == 200, &answer.seen());
    let out = site.post("/logout", &format!("{{\"refresh_token\":\"{token}\"}}"))?;
    report.check("a logout works without Redis", out.status == 204, &out.seen());
    let seen = until(LIMIT, || is(&site.whoami(&access)?, 401));
    report.done("a logout is seen without Redis", seen);
    site.composed(&["start", "redis"])?;
    report.done("Redis comes back", site.healthy("latchkey-redis-1", LIMIT));
    Ok(())
}

/// Services verify on their own, and what needs the database says that it does.
fn without_postgres(site: &Site<'_>, report: &mut Report) -> Result {
    let (access, token) = log_in(site, &[])?;
    site.composed(&["stop", "postgres"])?;
    let stopped = Instant::now();
    let answer = site.whoami(&access)?;
    // For the thirty seconds of revocation.max_staleness_seconds; a machine that was away for longer tells nothing.
    let right = answer.status == 200 || (answer.status == 503 && stopped.elapsed().as_secs() > 20);
    report.check("a token is verified without Postgres", right, &answer.seen());
    let answer = refresh(site, &token)?;
    report.check(
        "a refresh is answered 503 without Postgres",
        answer.status == 503,
        &answer.seen(),
    );
    site.composed(&["start", "postgres"])?;
    let back = until(LIMIT, || is(&refresh(site, &token)?, 200));
    if let Some(back) = report.done("a refresh works once Postgres is back", back) {
        println!("          {:.1} s from the start of Postgres to a refresh", back.as_secs_f64());
    }
    report.done("a token is verified again", until(LIMIT, || is(&site.whoami(&access)?, 200)));
    Ok(())
}

/// Stopped in order, removed, and started on the data that is left, with a second auth-service.
fn again(site: &Site<'_>, scaled: &Site<'_>, report: &mut Report) -> Result {
    let (_, token) = log_in(site, &[])?;
    let containers = site.containers()?;
    let begun = Instant::now();
    site.composed(&["stop"])?;
    println!("          {:.1} s to stop", begun.elapsed().as_secs_f64());
    for name in containers {
        let code = site.inspect(&name, "{{.State.ExitCode}}")?;
        report.check(&format!("{name} ends with 0 on SIGTERM"), code == "0", &code);
    }
    site.composed(&["down"])?;
    start(scaled, &["--scale", "auth-service=2"])?;
    let mut ports = Vec::new();
    for index in ["1", "2"] {
        let port = scaled.composed(&["port", "--index", index, "auth-service", "8080"])?;
        let ready = scaled.ask(&[&format!("http://{}/health/ready", port.trim())])?;
        report.check(&format!("auth-service {index} is ready"), ready.status == 200, &ready.seen());
        ports.push(port.trim().to_owned());
    }
    ports.dedup();
    report.check("two auth-services have a port each", ports.len() == 2, &ports.join(" "));
    let answer = scaled.post_with(
        "/refresh",
        &format!("{{\"refresh_token\":\"{token}\"}}"),
        &["--connect-to", &format!("127.0.0.1:8080:{}", ports[0])],
    )?;
    report.check("a session outlives `down`", answer.status == 200, &answer.seen());
    Ok(())
}

pub(super) fn nothing_left(site: &Site<'_>, report: &mut Report) -> Result {
    let containers = site.docker(&["ps", "--all", "--quiet"])?;
    let filter = ["--quiet", "--filter", "label=com.docker.compose.project=latchkey"];
    let volumes = site.docker(&[&["volume", "ls"], &filter[..]].concat())?;
    let networks = site.docker(&[&["network", "ls"], &filter[..]].concat())?;
    let left = format!("{containers}{volumes}{networks}");
    report.check("`down --volumes` leaves nothing", left.trim().is_empty(), &left);
    Ok(())
}
