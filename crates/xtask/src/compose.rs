//! The image and the compose files: by what can be read of them, and on a real Docker engine.
//!
//! The engine is our own, whatever else runs on this machine, and gone at the end with all that ran on it. What is
//! kept is what took long to fetch: `target/compose-cache`.

use std::ffi::OsString;
use std::fs::{self, File};

use crate::outcome::Outcome;
use crate::project::Project;
use crate::{Result, setup};

mod debian;
mod engine;
mod files;
mod held;
mod images;
mod load;
mod report;
mod scale;
mod single;
mod site;

pub(crate) use held::hold;

use debian::Debian;
use engine::Engine;
use report::Report;

/// Compiles in the image what else is taken from this run.
const COMPILE: &str = "--compile";

/// Every check. `rest` may have `--compile`.
pub(crate) fn check(project: &Project, rest: &[OsString]) -> Result<Outcome> {
    let compile = match rest {
        [] => false,
        [only] if only == COMPILE => true,
        _ => return Err(format!("`compose` takes {COMPILE} and nothing else").into()),
    };
    let mut outcome = files::check(project)?;
    let mut report = Report::new();
    if let Err(error) = on_an_engine(project, compile, &mut report) {
        let how = format!("compose on a real engine: {error}");
        println!("FAILED  {how}");
        outcome.add(Outcome::failed(how));
    }
    outcome.add(report.outcome);
    Ok(outcome)
}

fn on_an_engine(project: &Project, compile: bool, report: &mut Report) -> Result {
    setup::curl()?;
    setup::openssl()?;
    let cache = project.target.join("compose-cache");
    fs::create_dir_all(&cache)?;
    if !compile {
        project.build()?;
    }
    // Two runs in one checkout would make the same directories.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    let debian = Debian::new(&cache)?;
    let engine = Engine::start(project, &cache, &debian)?;
    report.step("a Docker engine");
    let names = images::provide(project, &engine, &debian, compile, report)?;
    report.step("base images");
    lock.unlock()?;
    single::check(&engine, report, &names)?;
    scale::check(&engine, report)
}
