//! The images as archives, for machines that pull from no registry.

use super::{Release, VERSION};
use crate::Result;
use crate::project::{run, succeeds};

/// The targets of the Dockerfile.
const TARGETS: [&str; 2] = ["auth-service", "resource-service"];

/// Builds and saves the images; why not, where there is no engine. `docker load` takes an archive as it is.
pub(super) fn save(release: &Release) -> Result<Option<String>> {
    let docker = || release.project.command("docker");
    if !succeeds(docker().arg("info")) {
        return Ok(Some("the archives of the images: no engine answers `docker info`".to_owned()));
    }
    for target in TARGETS {
        let tag = format!("latchkey/{target}:{VERSION}");
        run(docker().args(["build", "--target", target, "--tag", &tag, "."]))?;
        let archive = release.place.join(format!("{target}-{VERSION}-image.tar"));
        run(docker().args(["save", &tag, "--output"]).arg(&archive))?;
        run(release.project.command("gzip").args(["-n", "--force"]).arg(&archive))?;
    }
    Ok(None)
}
