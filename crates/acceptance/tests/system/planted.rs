//! Planted bugs are only where they are asked for, and each of them is tried.

use std::collections::BTreeSet;

use crate::house::{PRODUCT, is_planted, read, sources};

/// Without what is compiled only with the feature.
fn without_planted(text: &str) -> String {
    let mut lines = text.lines();
    let mut others = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() != r#"#[cfg(feature = "planted-bugs")]"# {
            others.push(line);
            continue;
        }
        let mut open = 0;
        for line in lines.by_ref() {
            open += line.matches(['(', '{', '[']).count();
            open -= line.matches([')', '}', ']']).count();
            if open == 0 && line.ends_with([';', '}', ',']) {
                break;
            }
        }
    }
    others.join("\n")
}

#[test]
fn what_is_planted_is_compiled_only_where_it_is_asked_for() {
    let planted = |text: &str| text.contains("planted") || text.contains("PLANTED");
    let mut places = 0;
    for (name, text) in sources(&PRODUCT).into_iter().filter(|(name, _)| !is_planted(name)) {
        places += text.matches("planted-bugs").count();
        let others = without_planted(&text);
        assert!(!planted(&others), "{name} knows of planted bugs without the feature");
    }
    assert!(places >= 8, "{places}");
    for name in PRODUCT {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        let asks = |line: &&str| planted(line) && !line.starts_with("planted-bugs = [");
        let asking: Vec<_> = manifest.lines().filter(asks).collect();
        assert_eq!(asking, [""; 0], "{name}: neither a default nor a dependency turns it on");
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
fn the_planted_bugs_are_those_that_are_tried() {
    let tried = read("crates/xtask/src/faults.rs");
    let (_, list) = tried.split_once("const BUGS: [&str; 10] = [").expect("a list");
    let (list, _) = list.split_once("];").expect("its end");
    let tried: BTreeSet<_> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let names = |name: &str| -> Vec<String> {
        let text = read(&format!("crates/{name}/src/planted.rs"));
        let arms = text.lines().filter_map(|line| line.split_once(" => \"")?.1.split('"').next());
        arms.map(str::to_owned).collect()
    };
    let planted: BTreeSet<_> =
        [names("auth-service"), names("verifier")].concat().into_iter().collect();
    assert_eq!(planted.len(), 10);
    assert_eq!(planted, tried);
}
