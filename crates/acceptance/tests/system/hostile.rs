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

/// Those of the second search for faults, as that numbered them. Where one was several, they have letters.
const SECOND: &[u32] = &[1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

/// The rows of the tables whose names begin with `prefix`, each with the rest of its line.
fn rows<'a>(text: &'a str, prefix: &str) -> Vec<(&'a str, &'a str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_prefix(prefix));
    lines.filter_map(|line| line.split_once(" | ")).collect()
}

fn is_source(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == "rs")
}

/// What a row says of tests, in its last column.
fn last_column(rest: &str) -> &str {
    rest.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default()
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
    let text = read("crates/acceptance/HOSTILE.md");
    let found: Vec<_> = rows(&text, "G-").into_iter().map(|(row, _)| row).collect();
    let unique: BTreeSet<_> = found.iter().collect();
    assert_eq!(found.len(), unique.len(), "none is there twice");
    let number = |row: &str| row.trim_end_matches(char::is_alphabetic).parse::<u32>();
    let numbers: BTreeSet<_> = found.iter().map(|row| number(row).expect("a number")).collect();
    assert_eq!(numbers, SECOND.iter().copied().collect());
}

/// Tests of the clients have titles in place of names, of which a row may give a part.
#[test]
fn every_test_of_the_clients_that_a_row_names_exists() {
    let mut sources = String::new();
    for (name, path) in files("clients") {
        if name.ends_with(".test.js") {
            sources.push_str(&fs::read_to_string(path).expect("text").replace("\\'", "'"));
        }
    }
    let text = read("crates/acceptance/HOSTILE.md");
    for (row, rest) in rows(&text, "G-") {
        let titles = quoted(last_column(rest)).filter(|name| name.contains(' '));
        for title in titles.filter(|title| !title.starts_with("cargo ")) {
            assert!(sources.contains(title), "{row}: there is no test {title}");
        }
        for file in quoted(rest).filter(|name| name.ends_with(".test.js")) {
            read(&format!("clients/{file}"));
        }
    }
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
    for (row, rest) in ["N-", "F-", "G-"].into_iter().flat_map(|prefix| rows(&text, prefix)) {
        let tests = quoted(last_column(rest));
        let names: Vec<_> = tests.filter(|name| name.matches('_').count() > 1).collect();
        assert!(!names.is_empty() || rest.contains(".test.js`"), "{row} names no test");
        for name in names {
            assert!(sources.contains(&format!("fn {name}(")), "{row}: there is no test {name}");
        }
        for file in quoted(rest).filter(|name| name.contains('/') && is_source(name)) {
            read(&format!("crates/{file}"));
        }
    }
}
