//! The browser client under node, and with its page in a browser.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::outcome::Outcome;
use crate::project::{Project, run, shown, succeeds};
use crate::{Result, setup};

/// The least that the tests need, and what is taken where the system has less.
const NODE_AT_LEAST: u32 = 20;
const NODE: &str = "node@22";

/// Everything below `clients`; pictures of the page go to `target/screenshots`.
pub(crate) fn check(project: &Project) -> Result<Outcome> {
    let node = node(project)?;
    let chromium = setup::chromium()?;
    project.build()?;
    let mut outcome = Outcome::default();
    for part in ["browser", "e2e"] {
        let directory = project.root.join("clients").join(part);
        let quiet = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
        run(in_directory(&node, "npm", &directory).args(quiet))?;
        let mut test = in_directory(&node, "npm", &directory);
        test.args(["test", "--silent"])
            .env("LATCHKEY_BIN", project.debug().join("latchkey"))
            .env("LATCHKEY_CHROMIUM", &chromium)
            .env("LATCHKEY_SCREENSHOTS", project.target.join("screenshots"));
        outcome.add(count(&mut test)?);
    }
    run(in_directory(&node, "npm", &project.root.join("clients/browser"))
        .args(["run", "size", "--silent"]))?;
    Ok(outcome)
}

/// With this node before any other.
fn in_directory(node: &Path, program: &str, directory: &Path) -> Command {
    let mut path = node.parent().unwrap_or(Path::new("")).as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command.current_dir(directory).env("PATH", path);
    command
}

/// The system's, or one that is installed for this checkout.
fn node(project: &Project) -> Result<PathBuf> {
    setup::npm()?;
    let version = Command::new("node").arg("--version").output()?.stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    let major = version.trim().trim_start_matches('v').split('.').next().map(str::parse::<u32>);
    if matches!(major, Some(Ok(major)) if major >= NODE_AT_LEAST) {
        return Ok("node".into());
    }
    let place = project.tools().join("node");
    let node = place.join("node_modules/node/bin/node");
    if !succeeds(Command::new(&node).arg("--version")) {
        let mut npm = project.command("npm");
        run(npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&place).arg(NODE))?;
    }
    Ok(node)
}

/// Shows the output of `node --test` and takes what it counted from its end.
fn count(test: &mut Command) -> Result<Outcome> {
    println!("$ {}", shown(test));
    let mut process = test.stdout(Stdio::piped()).spawn()?;
    let mut outcome = Outcome::default();
    if let Some(output) = process.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            match reported(&line) {
                Some(("pass", number)) => outcome.passed = number,
                Some(("fail" | "cancelled", number)) => outcome.failed += number,
                _ => {}
            }
            if let Some(how) = failure(&line) {
                outcome.failures.push(how);
            }
        }
    }
    let status = process.wait()?;
    if (!status.success() || outcome.passed == 0) && outcome.failed == 0 {
        outcome.add(Outcome::failed(format!("node --test: {status}")));
    }
    Ok(outcome)
}

/// Of `not ok 3 - a test` and, further in, `error: 'how'`.
fn failure(line: &str) -> Option<String> {
    let line = line.trim_start();
    match line.strip_prefix("not ok ") {
        Some(test) => Some(test.to_owned()),
        None => line.starts_with("error: ").then(|| format!("    {line}")),
    }
}

/// Of `# pass 76` or `ℹ pass 76`.
fn reported(line: &str) -> Option<(&str, usize)> {
    let mut words = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ "))?.split(' ');
    let found = (words.next()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_node_is_understood() {
        assert_eq!(reported("# pass 76"), Some(("pass", 76)));
        assert_eq!(reported("ℹ fail 2"), Some(("fail", 2)));
        assert_eq!(reported("# a test of 2 things"), None);
        assert_eq!(reported("✔ pass 3"), None);
        assert_eq!(failure("not ok 3 - a tab"), Some("3 - a tab".to_owned()));
        assert_eq!(failure("  error: 'not in time'"), Some("    error: 'not in time'".to_owned()));
        assert_eq!(failure("ok 4 - a tab"), None);
    }
}
