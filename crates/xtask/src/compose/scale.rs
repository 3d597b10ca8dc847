//! The installation of docker-compose.scale.yml: two auth-services behind nginx, one restarted after the other while
//! clients are at work.

use std::process::Command;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::files::COMPOSE;
use super::load::{Load, register};
use super::report::Report;
use super::single::{LIMIT, log_in, nothing_left, start};
use super::site::{Site, bearer, output, until};
use crate::Result;

/// Everything comes from one address, as fast as it can.
const SETTINGS: &str = "\
AUTH__ISSUER=https://localhost:8443
AUTH__TOKENS__AUDIENCE=https://localhost:8444
RESOURCE__AUDIENCE=https://localhost:8444
TLS_CERTIFICATE=/engine/certificate.pem
TLS_KEY=/engine/key.pem
AUTH__LIMITS__LOGIN_FREE=0
AUTH__LIMITS__ACCOUNT_FREE=0
AUTH__LIMITS__NETWORK_BURST=0
AUTH__LIMITS__REFRESH_BURST=0
AUTH__LIMITS__FORGED_BURST=0
";
const REPLICAS: [&str; 2] = ["latchkey-auth-service-1", "latchkey-auth-service-2"];
/// What the clients must have got before, between and after the restarts.
const ANSWERS: usize = 100;
const GATEWAY: &str = "10.213.64.1";
const FORGED: &str = "203.0.113.9";

/// All of it.
pub(super) fn check(engine: &Engine, report: &mut Report) -> Result {
    let certificate = engine.home.join("certificate.pem");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost", "-out"]).arg(&certificate);
    let key = engine.home.join("key.pem");
    output(openssl.arg("-keyout").arg(&key))?;
    // nginx reads both as user 101.
    std::os::unix::fs::chown(&key, Some(101), Some(101))?;
    let services = ["https://localhost:8443", "https://localhost:8444"];
    let mut site = Site::new(engine, &COMPOSE, "scale.env", SETTINGS, services)?;
    site.certificate = Some(certificate);

    start(&site, &[])?;
    report.step("two auth-services behind nginx, to healthy");
    report.done("the first user registers by way of nginx", register(&site));
    client(&site, report)?;
    let load = Load::default();
    let rolled = load.during(&site, || roll(&site, &load));
    if let Some(times) = report.done("a rolling restart ends", rolled) {
        for (name, time) in REPLICAS.iter().zip(times) {
            println!("          {name}: {:.1} s from SIGTERM to healthy", time.as_secs_f64());
        }
    }
    let (answered, lost) = (load.answered(), load.lost());
    println!("          {answered} requests were answered, {} were lost", lost.len());
    let mut shown = lost.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    if !lost.is_empty() {
        shown += &warnings(&site)?;
    }
    report.check("a rolling restart loses no request", lost.is_empty(), &shown);
    both_serve(&site, report)?;
    report.step("rolling restart under load");
    one_feed(&site, report)?;
    report.step("each feed alone");
    site.composed(&["down", "--volumes"])?;
    nothing_left(&site, report)?;
    report.step("down with the data");
    Ok(())
}

/// The address of a client is the one that nginx sees.
fn client(site: &Site<'_>, report: &mut Report) -> Result {
    let (access, _) = log_in(site, &["--header", &format!("x-forwarded-for: {FORGED}")])?;
    let sessions = site.ask(&["--header", &bearer(&access), &format!("{}/sessions", site.auth)])?;
    let right = sessions.text.contains(GATEWAY) && !sessions.text.contains(FORGED);
    report.check("nginx tells who the client is", right, &sessions.seen());
    Ok(())
}

/// Restarts one after the other; how long each took from SIGTERM to healthy.
fn roll(site: &Site<'_>, load: &Load) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    more(load)?;
    for name in REPLICAS {
        let begun = Instant::now();
        site.docker(&["restart", "--time", "30", name])?;
        site.healthy(name, LIMIT)?;
        times.push(begun.elapsed());
        more(load)?;
    }
    Ok(times)
}

/// What the services and nginx logged of it.
fn warnings(site: &Site<'_>) -> Result<String> {
    let logs = site.composed(&["logs", "--timestamps", "auth-service", "proxy"])?;
    let warnings = logs.lines().filter(|line| line.contains("WARN") || line.contains("[error]"));
    let warnings: Vec<_> = warnings.collect();
    let last = &warnings[warnings.len().saturating_sub(20)..];
    Ok(format!("\nof {} warnings the last:\n{}", warnings.len(), last.join("\n")))
}

/// Waits until the clients have got some more.
fn more(load: &Load) -> Result {
    let before = load.answered();
    until(LIMIT, || {
        let answered = load.answered() - before;
        if answered >= ANSWERS { Ok(()) } else { Err(format!("{answered} answers").into()) }
    })?;
    Ok(())
}

/// Since their restart both were asked.
fn both_serve(site: &Site<'_>, report: &mut Report) -> Result {
    for name in REPLICAS {
        let format = "{{(index .NetworkSettings.Networks \"latchkey_services\").IPAddress}}";
        let address = site.inspect(name, format)?;
        let metrics = site.ask(&[&format!("http://{address}:9080/metrics")])?;
        let refreshes =
            metrics.text.lines().any(|line| line.starts_with("latchkey_refreshes_total"));
        report.check(&format!("nginx asks {name}"), refreshes, &metrics.seen());
    }
    Ok(())
}

/// With either replica away the resource-service learns of a logout from the other.
fn one_feed(site: &Site<'_>, report: &mut Report) -> Result {
    for away in REPLICAS {
        site.docker(&["stop", "--time", "30", away])?;
        let (access, token) = log_in(site, &[])?;
        let before = until(LIMIT, || {
            let answer = site.whoami(&access)?;
            if answer.status == 200 { Ok(()) } else { Err(answer.seen().into()) }
        });
        report.done(&format!("a token is accepted without {away}"), before);
        let out = site.post("/logout", &format!("{{\"refresh_token\":\"{token}\"}}"))?;
        report.check(&format!("a logout works without {away}"), out.status == 204, &out.seen());
        let seen = until(LIMIT, || {
            let answer = site.whoami(&access)?;
            if answer.status == 401 { Ok(()) } else { Err(answer.seen().into()) }
        });
        report.done(&format!("a logout is seen without {away}"), seen);
        site.docker(&["start", away])?;
        site.healthy(away, LIMIT)?;
    }
    Ok(())
}
