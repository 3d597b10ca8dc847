//! The OpenAPI documents against the services that they describe: schemathesis makes requests from a
//! document, well-formed ones and others, and compares every answer with it.

use std::path::Path;

use crate::outcome::Outcome;
use crate::project::{Project, run};
use crate::services::Service;
use crate::{Result, python};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// The one check that is left out: that whatever fits the schema is accepted. What a name may be, and
/// a good password, no schema tells.
const NOT_CHECKED: &str = "positive_data_acceptance";

/// One check for each document.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    let programs = python::tools(project, &[SCHEMATHESIS])?;
    project.build()?;
    let data = tempfile::tempdir()?;
    let database = format!("sqlite:{}", data.path().join("latchkey.db").display());
    let auth = Service::auth(&project.debug(), &database)?;
    let resource = Service::resource(&project.debug(), &auth)?;
    let (_auth, _) = auth.start(project)?;
    let (_resource, _) = resource.start(project)?;
    let mut outcome = Outcome::default();
    for (name, service) in [("auth-service", &auth), ("resource-service", &resource)] {
        outcome.add(match compare(project, &programs, data.path(), name, service, &auth) {
            Ok(()) => Outcome::passed(),
            Err(error) => Outcome::failed(format!("openapi/{name}.json: {error}")),
        });
    }
    Ok(outcome)
}

fn compare(
    project: &Project,
    programs: &Path,
    directory: &Path,
    name: &str,
    service: &Service,
    auth: &Service,
) -> Result {
    let mut command = project.command(programs.join("schemathesis"));
    command
        // It leaves what it learnt wherever it runs.
        .current_dir(directory)
        .arg("run")
        .arg(project.root.join("openapi").join(name).with_extension("json"))
        .args(["--url", &format!("http://{}", service.public)])
        .args(["--checks", "all", "--exclude-checks", NOT_CHECKED])
        .args(["--max-examples", "50"])
        // The same requests every time; and an end, should a service answer none.
        .args(["--seed", "1", "--generation-database", "none"])
        .args(["--request-timeout", "10", "--no-color"])
        // What schemathesis cannot know is told to it there.
        .env("SCHEMATHESIS_HOOKS", "schema_hooks")
        .env("PYTHONPATH", project.root.join("crates/xtask/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LATCHKEY_AUTH", format!("http://{}", auth.public))
        .env("LATCHKEY_BASE", format!("http://{}", service.public));
    run(&mut command)
}
