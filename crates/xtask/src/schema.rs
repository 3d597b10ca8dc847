//! The OpenAPI documents against the services that they describe: schemathesis makes requests from a
//! document, well-formed ones and others, and compares every answer with it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use crate::outcome::Outcome;
use crate::project::{Project, run};
use crate::services::Service;
use crate::{Result, python};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// The one check that is left out: that whatever fits the schema is accepted. What a name may be, and
/// a good password, no schema tells.
const NOT_CHECKED: &str = "positive_data_acceptance";

/// Of everybody, and of the administrator `root`.
const PASSWORD: &str = "a quite ordinary sentence";

/// Who may do what administrators do.
const SCOPES: &str = r#"{
    "latchkey:users:read": {"roles": ["admin"]}, "latchkey:users:write": {"roles": ["admin"]},
    "latchkey:sessions:end": {"roles": ["admin"]}, "latchkey:keys": {"roles": ["admin"]},
    "latchkey:audit:read": {"roles": ["admin"]}
}"#;

/// What to compare.
struct Comparison {
    /// The name of the document.
    document: &'static str,
    /// Where what it describes is served.
    address: SocketAddr,
    /// How many requests are made up for each operation, besides those that the document itself asks for.
    examples: &'static str,
    phases: &'static str,
}

/// One check for each document.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    let programs = python::tools(project, &[SCHEMATHESIS])?;
    project.build()?;
    let data = tempfile::tempdir()?;
    let database = format!("sqlite:{}", data.path().join("latchkey.db").display());
    let mut auth = Service::auth(&project.debug(), &database)?;
    auth.set("AUTH__SCOPES", SCOPES);
    let resource = Service::resource(&project.debug(), &auth)?;
    let (_auth, _) = auth.start(project)?;
    let (_resource, _) = resource.start(project)?;
    add_administrator(&auth)?;
    let all = "examples,coverage,fuzzing,stateful";
    let mut outcome = Outcome::default();
    for comparison in [
        Comparison { document: "auth-service", address: auth.public, examples: "50", phases: all },
        Comparison {
            document: "resource-service",
            address: resource.public,
            examples: "50",
            phases: all,
        },
        // The last, because it replaces keys. Fewer, because many of them cost a password hash. Without the phase that
        // follows one request by another: it expects that nothing is at a path below one that was deleted, and the
        // list of a user's ended sessions is there, and empty.
        Comparison {
            document: "admin",
            address: auth.internal,
            examples: "20",
            phases: "examples,coverage,fuzzing",
        },
    ] {
        outcome.add(match compare(project, &programs, data.path(), &comparison, &auth) {
            Ok(()) => Outcome::passed(),
            Err(error) => Outcome::failed(format!("openapi/{}.json: {error}", comparison.document)),
        });
    }
    Ok(outcome)
}

/// Makes the administrator, whom only the command line can make.
fn add_administrator(auth: &Service) -> Result {
    let mut command = auth.command(&["user", "create", "root", "--role", "admin"]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    if let Some(mut input) = process.stdin.take() {
        writeln!(input, "{PASSWORD}")?;
    }
    let status = process.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("auth-service user create: {status}").into())
}

fn compare(
    project: &Project,
    programs: &Path,
    directory: &Path,
    comparison: &Comparison,
    auth: &Service,
) -> Result {
    let Comparison { document, address, examples, phases } = comparison;
    let mut command = project.command(programs.join("schemathesis"));
    command
        // It leaves what it learnt wherever it runs.
        .current_dir(directory)
        .arg("run")
        .arg(project.root.join("openapi").join(document).with_extension("json"))
        .args(["--url", &format!("http://{address}")])
        .args(["--checks", "all", "--exclude-checks", NOT_CHECKED])
        .args(["--max-examples", examples, "--phases", phases])
        // The same requests every time; and an end, should a service answer none.
        .args(["--seed", "1", "--generation-database", "none"])
        .args(["--request-timeout", "10", "--no-color"])
        // What schemathesis cannot know is told to it there.
        .env("SCHEMATHESIS_HOOKS", "schema_hooks")
        .env("PYTHONPATH", project.root.join("crates/xtask/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LATCHKEY_AUTH", format!("http://{}", auth.public))
        .env("LATCHKEY_BASE", format!("http://{address}"))
        .env("LATCHKEY_PASSWORD", PASSWORD);
    run(&mut command)
}
