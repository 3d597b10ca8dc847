//! HOSTILE.md: no row is missing, and every test that it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::house::{files, read};

/// The rows of each group.
const GROUPS: [(&str, usize); 9] = [
    ("J", 14),
    ("A", 17),
    ("H", 5),
    ("C", 14),
    ("R", 18),
    ("X", 4),
    ("K", 10),
    ("U", 8),
    ("T", 14),
];

/// The rows of the tables whose names begin with `prefix`, each with the rest of its line.
fn rows<'a>(text: &'a str, prefix: &str) -> Vec<(&'a str, &'a str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_prefix(prefix));
    lines.filter_map(|line| line.split_once(" | ")).collect()
}

fn is_source(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == "rs")
}

/// What is between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_hostile_case_has_its_row() {
    let text = read("crates/acceptance/HOSTILE.md");
    let found: Vec<_> = rows(&text, "N-").into_iter().map(|(row, _)| row.to_owned()).collect();
    let expected = GROUPS
        .iter()
        .flat_map(|(group, many)| (1..=*many).map(move |number| format!("{group}{number:02}")));
    let (unique, expected): (BTreeSet<_>, BTreeSet<_>) =
        (found.iter().cloned().collect(), expected.collect());
    assert_eq!(unique, expected);
    assert_eq!(found.len(), unique.len(), "none is there twice");
}

#[test]
fn every_test_that_a_row_names_exists() {
    let mut sources = String::new();
    for (name, path) in files("crates") {
        if is_source(&name) {
            sources.push_str(&fs::read_to_string(path).expect("text"));
        }
    }
    let text = read("crates/acceptance/HOSTILE.md");
    let (cases, faults) = (rows(&text, "N-"), rows(&text, "F-"));
    for (row, rest) in cases.into_iter().chain(faults) {
        let names: Vec<_> = quoted(rest).filter(|name| name.matches('_').count() > 1).collect();
        assert!(!names.is_empty(), "{row} names no test");
        for name in names {
            assert!(sources.contains(&format!("fn {name}(")), "{row}: there is no test {name}");
        }
        for file in quoted(rest).filter(|name| name.contains('/') && is_source(name)) {
            read(&format!("crates/{file}"));
        }
    }
}
