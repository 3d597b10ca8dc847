//! What each program is made of, as JSON of `CycloneDX`: the crates that `cargo tree` shows for the build, with their
//! licences, their checksums from Cargo.lock, and which of them needs which.
//!
//! Made here and not by a tool, because cargo already knows all of it for exactly the features that are built, while
//! the tools take minutes to build and ask for the features of the whole workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::Result;
use crate::project::{Project, said};

/// A crate, as `cargo tree` shows it.
#[derive(Default)]
struct Crate {
    licence: String,
    needs: BTreeSet<String>,
}

/// The documents of the programs of these packages, in the same order.
pub(super) fn make(project: &Project, packages: &[&str]) -> Result<Vec<String>> {
    let mut tree = project.cargo();
    tree.args(["tree", "--locked", "--edges", "normal", "--prefix", "depth"]);
    tree.args(["--format", "|{p}|{l}"]);
    for package in packages {
        tree.args(["--package", package]);
    }
    let crates = crates(&said(&mut tree)?)?;
    let checksums = checksums(&fs::read_to_string(project.root.join("Cargo.lock"))?);
    let mut documents = Vec::new();
    for package in packages {
        let root = crates.keys().find(|id| id.starts_with(&format!("{package}@")));
        let root = root.ok_or_else(|| format!("cargo tree does not show {package}"))?;
        documents.push(format!("{:#}\n", document(root, &crates, &checksums)));
    }
    Ok(documents)
}

/// By `name@version`. A crate is shown with what it needs where it comes first, and alone after that.
fn crates(tree: &str) -> Result<BTreeMap<String, Crate>> {
    let mut crates = BTreeMap::<String, Crate>::new();
    let mut above: Vec<String> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        // Of `2|serde v1.0.0 (proc-macro)|MIT OR Apache-2.0 (*)`.
        let mut fields = line.split('|');
        let mut next = || fields.next().ok_or_else(|| format!("cargo tree says: {line}"));
        let (depth, package, licence) = (next()?.parse::<usize>()?, next()?, next()?);
        let mut words = package.split(' ');
        let name = words.next().unwrap_or_default();
        let version = words.next().unwrap_or_default().trim_start_matches('v');
        let id = format!("{name}@{version}");
        above.truncate(depth);
        if let Some(parent) = above.last() {
            crates.entry(parent.clone()).or_default().needs.insert(id.clone());
        }
        let licence = licence.trim_end_matches(" (*)").replace('/', " OR ");
        crates.entry(id.clone()).or_default().licence = licence;
        above.push(id);
    }
    Ok(crates)
}

/// By `name@version`; what is of this workspace has none.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        line.and_then(|rest| rest.strip_suffix('"')).map(str::to_owned)
    };
    let packages = lock.split("[[package]]").filter_map(|package| {
        let id = format!("{}@{}", value(package, "name")?, value(package, "version")?);
        Some((id, value(package, "checksum")?))
    });
    packages.collect()
}

fn document(
    root: &str,
    crates: &BTreeMap<String, Crate>,
    checksums: &BTreeMap<String, String>,
) -> Value {
    let mut reached = BTreeSet::new();
    let mut next = vec![root.to_owned()];
    while let Some(id) = next.pop() {
        if reached.insert(id.clone()) {
            next.extend(crates[&id].needs.iter().cloned());
        }
    }
    let component = |id: &String, kind: &str| {
        let (name, version) = id.split_once('@').unwrap_or((id, ""));
        let mut component = json!({
            "type": kind,
            "bom-ref": purl(id),
            "name": name,
            "version": version,
            "purl": purl(id),
        });
        if !crates[id].licence.is_empty() {
            component["licenses"] = json!([{ "expression": crates[id].licence }]);
        }
        if let Some(checksum) = checksums.get(id) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        component
    };
    let needs = |id: &String| {
        let needs: Vec<_> = crates[id].needs.iter().map(|id| purl(id)).collect();
        json!({ "ref": purl(id), "dependsOn": needs })
    };
    let others = reached.iter().filter(|id| *id != root);
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": component(&root.to_owned(), "application") },
        "components": others.map(|id| component(id, "library")).collect::<Vec<_>>(),
        "dependencies": reached.iter().map(needs).collect::<Vec<_>>(),
    })
}

fn purl(id: &str) -> String {
    format!("pkg:cargo/{}", id.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_what_it_needs_and_no_more() {
        let tree = "0|one v0.1.0 (/src/one)|MIT\n1|both v1.0.0|MIT/Apache-2.0\n2|deep v2.0.0+a|\n\
                    1|once v3.0.0 (proc-macro)|ISC\n\n0|two v0.1.0 (/src/two)|MIT\n1|both v1.0.0|MIT/Apache-2.0 (*)\n";
        let lock = "[[package]]\nname = \"both\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n";
        let document = document("two@0.1.0", &crates(tree).unwrap(), &checksums(lock));
        assert_eq!(document["metadata"]["component"]["name"], "two");
        let both = json!({
            "type": "library",
            "bom-ref": "pkg:cargo/both@1.0.0",
            "name": "both",
            "version": "1.0.0",
            "purl": "pkg:cargo/both@1.0.0",
            "licenses": [{ "expression": "MIT OR Apache-2.0" }],
            "hashes": [{ "alg": "SHA-256", "content": "ab" }],
        });
        assert_eq!(document["components"][0], both);
        assert_eq!(document["components"][1]["purl"], "pkg:cargo/deep@2.0.0%2Ba");
        assert_eq!(document["components"].as_array().unwrap().len(), 2);
        assert_eq!(document["dependencies"][0]["dependsOn"], json!(["pkg:cargo/deep@2.0.0%2Ba"]));
    }
}
