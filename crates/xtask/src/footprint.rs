//! `cargo xtask footprint`: what the image ships, measured.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::guard::Guard;
use crate::project::{Project, run as run_command};
use crate::services::Service;
use crate::{Result, servers};

const STARTS: usize = 5;
const SETTLING: Duration = Duration::from_secs(2);

/// Prints size, time to ready (the median of five) and idle memory, with the aims beside.
pub(crate) fn run(project: &Project) -> Result {
    let mut build = project.cargo();
    build.args(["build", "--bins", "--profile", "dist"]);
    for package in ["auth-service", "resource-service", "standalone"] {
        build.args(["--package", package]);
    }
    run_command(&mut build)?;
    let programs = project.target.join("dist");
    let directory = tempfile::tempdir_in(&project.target)?;
    let postgres = servers::postgres(project)?;

    let sqlite = format!("sqlite:{}", directory.path().join("auth.db").display());
    let on_postgres = Service::auth(&programs, &postgres.url)?;
    let on_sqlite = Service::auth(&programs, &sqlite)?;
    let following = Service::resource(&programs, &on_sqlite)?;
    let both = Service::standalone(&programs, &directory.path().join("standalone"))?;

    println!("\n{:<28}{:>12}{:>14}{:>14}", "", "idle, MiB", "to ready, ms", "binary, MB");
    println!("{:<28}{:>12}{:>14}{:>14}", "aim: at most", 15, 150, 13);
    let size = |name: &str| fs::metadata(programs.join(name)).map(|file| file.len());
    row("auth-service, Postgres", size("auth-service")?, &measure(project, &on_postgres)?);
    row("auth-service, SQLite", size("auth-service")?, &measure(project, &on_sqlite)?);
    let _followed = on_sqlite.start(project)?;
    row("resource-service", size("resource-service")?, &measure(project, &following)?);
    row("latchkey (both, SQLite)", size("latchkey")?, &measure(project, &both)?);
    Ok(())
}

/// Of one service.
struct Measured {
    to_ready: Duration,
    resident_bytes: u64,
}

/// The first start makes the schema and the keys; what is measured is a later one.
fn measure(project: &Project, service: &Service) -> Result<Measured> {
    let first = service.start(project)?;
    thread::sleep(SETTLING);
    drop(first);
    let (guard, second) = service.start(project)?;
    thread::sleep(SETTLING);
    let resident_bytes = resident_bytes(&guard)?;
    drop(guard);
    let mut times = vec![second];
    while times.len() < STARTS {
        times.push(service.start(project)?.1);
    }
    times.sort();
    Ok(Measured { to_ready: times[STARTS / 2], resident_bytes })
}

fn resident_bytes(guard: &Guard) -> Result<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(guard.said()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(number.ok_or("no VmRSS: only Linux has it")?.parse::<u64>()? * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn row(name: &str, size: u64, measured: &Measured) {
    let (size, resident) = (size as f64 / 1e6, measured.resident_bytes as f64 / 1_048_576.0);
    let ready = measured.to_ready.as_secs_f64() * 1e3;
    println!("{name:<28}{resident:>12.1}{ready:>14.1}{size:>14.1}");
}
