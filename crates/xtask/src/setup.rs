//! Finds what the tests need outside Rust and, where we may, installs it.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::geteuid;

use crate::Result;
use crate::project::succeeds;

/// Where Postgres keeps its server, installed first if need be and possible.
pub(crate) fn postgres_programs() -> Result<PathBuf> {
    if let Some(found) = find_postgres() {
        return Ok(found);
    }
    install("postgresql", "Postgres 13 or later (Debian: apt-get install postgresql)")?;
    find_postgres().ok_or_else(|| "Postgres was installed but is not found".into())
}

/// Tests start their own Redis, by its program's name.
pub(crate) fn redis() -> Result {
    if succeeds(Command::new("redis-server").arg("--version")) {
        return Ok(());
    }
    install("redis-server", "redis-server (Debian: apt-get install redis-server)")
}

/// Tests put a real pooler between the service and Postgres.
pub(crate) fn pooler() -> Result {
    if succeeds(Command::new("pgbouncer").arg("--version")) {
        return Ok(());
    }
    install("pgbouncer", "pgbouncer (Debian: apt-get install pgbouncer)")
}

/// Tests put real reverse proxies in front of the services, by their programs' names.
pub(crate) fn proxies() -> Result {
    if !succeeds(Command::new("nginx").arg("-v")) {
        install("nginx", "nginx (Debian: apt-get install nginx)")?;
    }
    if !succeeds(Command::new("haproxy").arg("-v")) {
        install("haproxy", "haproxy (Debian: apt-get install haproxy)")?;
    }
    if !succeeds(Command::new("caddy").arg("version")) {
        install("caddy", "caddy (Debian: apt-get install caddy)")?;
    }
    // Makes a certificate for them.
    openssl()
}

/// Makes certificates.
pub(crate) fn openssl() -> Result {
    if succeeds(Command::new("openssl").arg("version")) {
        return Ok(());
    }
    install("openssl", "openssl (Debian: apt-get install openssl)")
}

/// Tests let Prometheus scrape the services, and `promtool`, which comes with it, judge metrics and alerts.
pub(crate) fn prometheus() -> Result {
    let there = |program: &str| succeeds(Command::new(program).arg("--version"));
    if there("prometheus") && there("promtool") {
        return Ok(());
    }
    install("prometheus", "prometheus and promtool (Debian: apt-get install prometheus)")
}

/// The walk-through of the README is run as a reader would run it.
pub(crate) fn curl() -> Result {
    if succeeds(Command::new("curl").arg("--version")) {
        return Ok(());
    }
    install("curl", "curl (Debian: apt-get install curl)")
}

/// A package is installed and run in a root of its own, and its units are looked at.
pub(crate) fn fresh_root() -> Result {
    for (program, package) in
        [("debootstrap", "debootstrap"), ("ip", "iproute2"), ("systemd-analyze", "systemd")]
    {
        if !succeeds(Command::new("which").arg(program)) {
            install(package, &format!("{program} (Debian: apt-get install {package})"))?;
        }
    }
    Ok(())
}

/// The browser client is tested under node.
pub(crate) fn npm() -> Result {
    let there = |program: &str| succeeds(Command::new(program).arg("--version"));
    if there("node") && there("npm") {
        return Ok(());
    }
    install("npm", "node and npm (Debian: apt-get install npm)")
}

/// A Chromium for the tests of the page: the one that `LATCHKEY_CHROMIUM` names, or the system's.
pub(crate) fn chromium() -> Result<PathBuf> {
    let named = env::var_os("LATCHKEY_CHROMIUM").map(PathBuf::from);
    let program = named.unwrap_or_else(|| "/usr/bin/chromium".into());
    if !succeeds(Command::new(&program).arg("--version")) {
        install(
            "chromium",
            "chromium (Debian: apt-get install chromium), or name one in LATCHKEY_CHROMIUM",
        )?;
    }
    Ok(program)
}

/// Debian's Python has no `venv` without a package of its own.
pub(crate) fn python() -> Result {
    if succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        return Ok(());
    }
    install("python3-venv", "python3 with venv (Debian: apt-get install python3-venv)")
}

/// Who a server runs as: Postgres refuses root. None: as ourselves.
pub(crate) fn server_account() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd")?;
    let ids = |wanted: &str| {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, user, group) =
                (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            (name == wanted).then_some((user.parse().ok()?, group.parse().ok()?))
        })
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    found.map(Some).ok_or_else(|| "there is no account postgres or nobody to run Postgres".into())
}

/// `pg_config` may be that of a client library alone, and Debian keeps the server off the PATH.
fn find_postgres() -> Option<PathBuf> {
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let asked = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().into());
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = env::split_paths(&path).collect();
    let complete = |place: &PathBuf| {
        ["initdb", "postgres", "pg_isready"].iter().all(|name| place.join(name).is_file())
    };
    asked.into_iter().chain(versions.into_iter().rev()).chain(on_path).find(complete)
}

/// Installs a Debian package, if we are root on Debian; otherwise says what is missing.
fn install(package: &str, what: &str) -> Result {
    if !geteuid().is_root() || !succeeds(Command::new("apt-get").arg("--version")) {
        return Err(format!("missing: {what}; install it and run this again").into());
    }
    println!("{package} is missing: installing Debian's");
    let status = Command::new("sh").args(["-ec", INSTALL, "install", package]).status()?;
    if status.success() { Ok(()) } else { Err(format!("{package} could not be installed").into()) }
}

/// Debian starts a server as soon as it is installed, unless `policy-rc.d` says no. One that is
/// there stays as it is; ours is gone again when the shell ends, by Ctrl-C too. Another installation may be
/// going on, of a part of the tests that runs beside this one: its lock is waited for.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=600 update
apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$1"
"#;
