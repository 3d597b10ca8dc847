//! Which room of the auth-service may know which, so that the order in ARCHITECTURE.md stays true.

use std::collections::{BTreeMap, BTreeSet};

use crate::house::{code, read, sources};

const TOP: &str = "crates/auth-service/src/";

/// The rooms from the top down. Each may know those after it, and none before it.
const ORDER: [&str; 16] = [
    "main",
    "lib",
    "cli",
    "application",
    "http",
    "policy",
    "error",
    "tokens",
    "revocation",
    "limits",
    "passwords",
    "background",
    "store",
    "redis",
    "config",
    "identity",
];

/// A source file, as it lies below `src`, and what of its own crate it names.
struct File {
    path: String,
    names: Vec<Vec<String>>,
}

impl File {
    fn room(&self) -> &str {
        let end = self.path.find(['/', '.']).expect("a Rust file");
        &self.path[..end]
    }

    /// The modules that the file is in and is.
    fn module(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs");
        let at_the_root = ["main", "lib"].contains(&path);
        path.split('/').filter(|_| !at_the_root).map(str::to_owned).collect()
    }
}

/// Every path in `text` that begins with `beginning`, without that; groups in braces are opened.
fn paths(text: &str, beginning: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(beginning) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let path = &text[at + beginning.len()..];
        let end = path.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
        let (plain, rest) = path.split_at(end.unwrap_or(path.len()));
        let stem: Vec<_> =
            plain.split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect();
        if let Some(group) =
            rest.strip_prefix('{').filter(|_| plain.is_empty() || plain.ends_with("::"))
        {
            for first in group_members(group) {
                let more = first.split("::").map(str::to_owned);
                found.push(stem.iter().cloned().chain(more).collect());
            }
        } else {
            found.push(stem);
        }
    }
    found
}

/// The members of a group in braces, as far as each is a plain path.
fn group_members(group: &str) -> Vec<String> {
    let (mut depth, mut members) = (1, vec![String::new()]);
    for c in group.chars() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        match c {
            _ if depth == 0 => break,
            ',' if depth == 1 => members.push(String::new()),
            _ if depth == 1 && !c.is_whitespace() => members.last_mut().expect("one").push(c),
            _ => {}
        }
    }
    members.retain(|it| !it.is_empty() && it != "self");
    members.iter().map(|it| it.trim_end_matches(['}', ':']).to_owned()).collect()
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    for (name, text) in sources(&["auth-service"]) {
        let mut file = File { path: name[TOP.len()..].to_owned(), names: Vec::new() };
        let (code, module) = (code(&text), file.module());
        file.names = paths(&code, "crate::");
        // `super` in the first page of a room, or twice in a file below it, is the root.
        for (supers, beginning) in
            ["super::", "super::super::", "super::super::super::"].iter().enumerate()
        {
            let paths = paths(&code, beginning).into_iter();
            for path in paths.filter(|path| path.first().is_none_or(|first| first != "super")) {
                let above = module.len().saturating_sub(supers + 1);
                assert!(above > 0, "{name}: name other rooms by crate::, not by {beginning}");
                file.names.push(module[..above].iter().cloned().chain(path).collect());
            }
        }
        files.push(file);
    }
    assert!(files.len() > 60, "{}", files.len());
    files
}

/// Each room with the rooms that it names, and a file that names it.
fn arrows(files: &[File]) -> BTreeMap<(String, String), String> {
    let mut arrows = BTreeMap::new();
    for file in files {
        for path in &file.names {
            let to = &path[0];
            assert!(
                ORDER.contains(&to.as_str()),
                "{} names crate::{to}: name things where they are, by a room of ORDER",
                file.path
            );
            if to != file.room() {
                let arrow = (file.room().to_owned(), to.clone());
                arrows.entry(arrow).or_insert_with(|| file.path.clone());
            }
        }
    }
    arrows
}

#[test]
fn no_room_of_the_auth_service_knows_one_above_it() {
    let files = files();
    let rooms: BTreeSet<_> = files.iter().map(File::room).collect();
    let missing: Vec<_> = rooms.iter().filter(|room| !ORDER.contains(room)).collect();
    assert!(missing.is_empty(), "rooms without a place in ORDER: {missing:?}");
    let floor = |room: &str| ORDER.iter().position(|it| *it == room).expect("a room of ORDER");
    let arrows = arrows(&files);
    assert!(arrows.len() > 40, "{}", arrows.len());
    let up = arrows.iter().filter(|((from, to), _)| floor(to) < floor(from));
    let up: Vec<_> = up.map(|((from, to), file)| format!("{from} -> {to} ({file})")).collect();
    assert!(up.is_empty(), "arrows upward: {up:#?}");
}

#[test]
fn only_what_answers_or_decides_knows_the_app() {
    let files = files();
    let is_app = |path: &Vec<String>| path.get(..2).is_some_and(|it| it == ["policy", "app"]);
    let knows = |file: &&File| file.names.iter().any(is_app);
    let rooms: BTreeSet<_> = files.iter().filter(knows).map(File::room).collect();
    let allowed = ["application", "http", "policy"];
    let others: Vec<_> = rooms.iter().filter(|room| !allowed.contains(room)).collect();
    assert!(others.is_empty(), "{others:?} receive what they need, not the whole App");
    assert!(rooms.len() == allowed.len());
}

/// In the root a stranger should find only where the program begins and how it is put together.
#[test]
fn the_root_of_the_auth_service_has_no_drawer() {
    let files = files();
    let in_the_root: BTreeSet<_> =
        files.iter().map(|file| file.path.as_str()).filter(|path| !path.contains('/')).collect();
    let has_a_folder =
        |room: &str| files.iter().any(|file| file.path.starts_with(&format!("{room}/")));
    let alone = in_the_root.iter().filter(|path| !has_a_folder(path.trim_end_matches(".rs")));
    let alone: Vec<_> = alone.copied().collect();
    assert_eq!(alone, ["application.rs", "error.rs", "lib.rs", "main.rs"]);
}

#[test]
fn the_architecture_page_has_the_order_of_the_rooms() {
    let page = read("ARCHITECTURE.md");
    let section = page.split("## The order of the rooms").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("a beginning");
    let rooms = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let rooms: Vec<_> = rooms.filter_map(|line| line.split('`').next()).collect();
    assert_eq!(rooms, ORDER);
}

#[test]
fn paths_are_read_in_every_form() {
    let text = "use crate::store::{Store, keys};\nuse crate::{app::App, limits};\n\
                crate::error::Error; x(crate::config::MOST) mycrate::http::x other::crate::http";
    let rooms: Vec<_> = paths(text, "crate::").into_iter().map(|path| path[0].clone()).collect();
    assert_eq!(rooms, ["store", "store", "app", "limits", "error", "config"]);
}
