//! Planted bugs are patches, which apply to the sources as they are, and nothing that serves knows of them.

use std::path::PathBuf;
use std::process::Command;

use crate::house::{PRODUCT, files, read, root};

/// The patches: the first brings what the others ask, and each of those one bug.
fn patches() -> Vec<(String, PathBuf)> {
    let all = files("crates/trials/planted").into_iter();
    all.filter_map(|(name, path)| Some((name.rsplit('/').next()?.to_owned(), path))).collect()
}

#[test]
fn nothing_that_serves_knows_of_planted_bugs() {
    let planted = |text: &str| text.to_lowercase().contains("planted");
    for name in PRODUCT {
        for (name, path) in files(&format!("crates/{name}")) {
            if !path.extension().is_some_and(|it| it == "rs" || it == "toml") {
                continue;
            }
            assert!(!planted(&read(&name)), "{name} knows of planted bugs");
        }
    }
    for name in ["Dockerfile", "docker-compose.yml", ".ci/run", "Cargo.toml", ".cargo/config.toml"]
    {
        assert!(!planted(&read(name)), "{name}");
    }
    for name in ["Dockerfile", "docker-compose.yml"] {
        assert!(!read(name).contains("features"), "{name} builds what is tested");
    }
}

#[test]
fn the_patches_of_the_planted_bugs_apply_together() {
    let patches = patches();
    let mut apply = Command::new("git");
    apply.args(["apply", "--check"]).args(patches.iter().map(|(_, path)| path));
    let output = apply.current_dir(root()).output().expect("git can be run");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "CONTRIBUTING.md says how to mend a patch.\n{why}");
}

#[test]
fn each_planted_bug_is_awake_by_the_name_of_its_patch() {
    let patches = patches();
    assert_eq!(patches.first().expect("patches").0, "0-awake.patch");
    assert!(patches.len() > 10, "{patches:?}");
    for (file, _) in &patches[1..] {
        let bug = file.strip_suffix(".patch").expect("a patch");
        let text = read(&format!("crates/trials/planted/{file}"));
        let added = text.lines().filter(|line| line.starts_with('+'));
        let asked: Vec<_> = added.filter_map(|line| line.split_once("planted::is(\"")).collect();
        assert!(!asked.is_empty(), "{file} plants nothing that can be awake");
        for (_, rest) in asked {
            assert_eq!(rest.split('"').next(), Some(bug), "{file}");
        }
    }
}
