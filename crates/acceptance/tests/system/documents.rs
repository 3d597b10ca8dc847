//! The documents of the repository: their links lead somewhere, and every part names the licence.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::house::{PRODUCT, files, read, root, setting_names, sources};

const LICENCE: &str = "Apache-2.0 OR MIT";

fn ends_with(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == extension)
}

/// The text of a Markdown file without its code, where brackets mean something else.
pub(crate) fn prose(text: &str) -> String {
    let outside = text.split("```").step_by(2).collect::<String>();
    outside.split('`').step_by(2).collect()
}

/// The names by which the headings of a Markdown file are linked to, as hosting platforms make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let outside: String = text.split("\n```").step_by(2).collect();
    let headings =
        outside.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let mut found = BTreeSet::new();
    for heading in headings {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        let name: String = kept.map(|it| if it == ' ' { '-' } else { it }).collect();
        let again = (1..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.clone()).chain(again);
        let new = names.find(|name| !found.contains(name)).expect("numbers do not end");
        found.insert(new);
    }
    found
}

/// What is wrong with a link of `file`; nothing if it leads somewhere.
pub(crate) fn fault(file: &str, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let place = if path.is_empty() {
        root().join(file)
    } else {
        root().join(file).parent().expect("a directory").join(path)
    };
    let Ok(place) = place.canonicalize() else { return Some(format!("{file}: {link}: no file")) };
    if !place.starts_with(root()) {
        return Some(format!("{file}: {link}: outside of the repository"));
    }
    if anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(&place).unwrap_or_default();
    (!anchors(&text).contains(anchor)).then(|| format!("{file}: {link}: no such heading"))
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut looked_at = 0;
    let mut faults = Vec::new();
    for (name, path) in files("") {
        if !ends_with(&name, "md") {
            continue;
        }
        let text = prose(&fs::read_to_string(path).expect("text"));
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            looked_at += 1;
            faults.extend(fault(&name, link));
        }
    }
    assert!(looked_at > 20, "{looked_at}");
    assert_eq!(faults, [""; 0]);
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    for link in ["NOWHERE.md", "README.md#nothing-of-the-kind", "../outside.md"] {
        assert!(fault("README.md", link).is_some(), "{link}");
    }
    assert_eq!(fault("migrations/README.md", "../README.md#licence"), None);
    let twice = anchors("# A `b`, c!\n\n## A b, c\n```sh\n# not one\n```\n");
    assert_eq!(twice, ["a-b-c", "a-b-c-1"].map(str::to_owned).into());
}

#[test]
fn every_part_names_the_licence() {
    assert!(read("Cargo.toml").contains(&format!("license = \"{LICENCE}\"")));
    let mut manifests = 0;
    for (name, path) in files("") {
        let text = fs::read_to_string(path).unwrap_or_default();
        let file = name.rsplit('/').next().expect("a name");
        if file == "Cargo.toml" && name != file && text.contains("\nversion.workspace") {
            assert!(text.contains("license.workspace = true"), "{name}");
            manifests += 1;
        }
        if file == "package.json" {
            assert!(text.contains(&format!("\"license\": \"{LICENCE}\"")), "{name}");
            manifests += 1;
        }
    }
    assert!(manifests > 8, "{manifests}");
    let image = read("Dockerfile");
    assert_eq!(image.matches("org.opencontainers.image.licenses=").count(), 2);
    // It is compiled in, and its licence asks for its notice beside every copy.
    assert!(image.contains("common_passwords.LICENSE"));
}

#[test]
fn every_field_of_the_log_that_is_explained_is_there() {
    let page = read("docs/operations.md");
    let table = page.split("| field | unit | meaning |").nth(1).expect("the table of fields");
    let table = table.split("\n\n").next().expect("its end");
    let code: String = sources(&PRODUCT).into_iter().map(|(_, text)| text).collect();
    // Those that every line has come from the library.
    for row in table.lines().skip(3).filter(|row| row.starts_with("| ")) {
        for field in row.split(" | ").next().expect("a cell").split('`').skip(1).step_by(2) {
            let set = [format!("{field} = "), format!(" {field},"), format!("{field}\n")];
            let shown = [format!("%{field}"), format!("?{field}"), format!("({field}")];
            let there = set.iter().chain(&shown).any(|text| code.contains(text));
            assert!(there, "nothing logs {field}");
        }
    }
}

#[test]
fn the_first_page_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines: what is more belongs into docs/");
}

#[test]
fn the_glossary_names_files_that_are_there() {
    let text = read("docs/glossary.md");
    let names = text.split('`').skip(1).step_by(2);
    let paths: Vec<_> = names.filter(|name| ends_with(name, "rs") || name.ends_with('/')).collect();
    assert!(paths.len() > 8, "{paths:?}");
    for path in paths {
        let places = [root().join(path), root().join("crates/auth-service/src").join(path)];
        assert!(places.iter().any(|place| place.exists()), "{path}");
    }
}

#[test]
fn compose_passes_every_setting_on() {
    let compose = read("docker-compose.yml");
    for (service, prefix) in [("auth-service", "AUTH"), ("resource-service", "RESOURCE")] {
        for name in setting_names(service) {
            let variable = format!("{prefix}__{}", name.replace('.', "__").to_uppercase());
            let there =
                ["", "_FILE"].iter().any(|end| compose.contains(&format!(" {variable}{end}: ")));
            // What is for trying things out on this machine alone.
            let trial = name.starts_with("page.demo_") || name.starts_with("clock.");
            assert_eq!(there, !trial, "{variable}");
        }
    }
}

#[test]
fn what_compose_passes_on_is_marked_in_the_example_and_nothing_else() {
    let compose = read("docker-compose.yml") + &read("docker-compose.scale.yml");
    let variables = compose.split("${").skip(1).filter_map(|rest| rest.split([':', '}']).next());
    let arguments = compose.split("args: [").skip(1).filter_map(|rest| rest.split(']').next());
    let mut passed: BTreeSet<_> =
        variables.chain(arguments.flat_map(|names| names.split(", "))).collect();
    // What Compose sets itself.
    passed.remove("COMPOSE_PROJECT_NAME");
    let example = read(".env.example");
    let (mut marked, mut in_comment, mut found) = (false, false, BTreeSet::new());
    for line in example.lines() {
        let comment = line.starts_with("# ");
        if comment {
            marked = (marked && in_comment) || line.contains("[compose]");
        } else if let Some((name, _)) = line.trim_start_matches('#').split_once('=') {
            found.extend(marked.then_some(name));
        } else {
            marked = false;
        }
        in_comment = comment;
    }
    assert_eq!(found, passed);
}
