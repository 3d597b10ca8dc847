//! HOSTILE.md: no row is missing, and every test that it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::house::{files, read};

/// The rows of each group.
const GROUPS: [(&str, usize); 10] = [
    ("J", 14),
    ("A", 17),
    ("H", 5),
    ("C", 14),
    ("R", 21),
    ("X", 4),
    ("K", 10),
    ("U", 21),
    ("T", 14),
    ("M", 10),
];

/// The same of the faults that were found by attack.
const FAULTS: [(&str, usize); 4] = [("A", 6), ("B", 10), ("C", 4), ("D", 2)];

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

/// Checks that the rows with `prefix` are these and no others, none of them twice.
fn assert_complete(prefix: &str, expected: &BTreeSet<String>) {
    let text = read("crates/acceptance/HOSTILE.md");
    let found: Vec<_> = rows(&text, prefix).into_iter().map(|(row, _)| row.to_owned()).collect();
    let unique: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(&unique, expected);
    assert_eq!(found.len(), unique.len(), "none is there twice");
}

#[test]
fn every_hostile_case_has_its_row() {
    let cases = GROUPS
        .iter()
        .flat_map(|(group, many)| (1..=*many).map(move |number| format!("{group}{number:02}")));
    assert_complete("N-", &cases.collect());
    let faults = FAULTS
        .iter()
        .flat_map(|(group, many)| (1..=*many).map(move |number| format!("{group}{number}")));
    assert_complete("F-", &faults.collect());
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
