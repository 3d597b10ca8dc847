//! What is counted is described: to whoever scrapes it, and in docs/operations.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use testbed::{Answer, Kind, Tokens, World};

use crate::house::{PRODUCT, code, files, read, sources};

/// The macros that count, each with the type that Prometheus gives to what it counts.
const KINDS: [&str; 3] = ["counter", "gauge", "histogram"];

/// What is said of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) kind: &'static str,
    unit: Option<Unit>,
    text: String,
}

/// Keeps what metrics are described as, and counts nothing.
#[derive(Default)]
struct Descriptions(Mutex<BTreeMap<String, Description>>);

impl Descriptions {
    fn add(&self, kind: &'static str, name: &KeyName, unit: Option<Unit>, text: &SharedString) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let description = Description { kind, unit, text: text.to_string() };
        let before = all.insert(name.as_str().to_owned(), description);
        assert_eq!(before, None, "{} is described twice", name.as_str());
    }
}

impl Recorder for Descriptions {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.add("counter", &name, unit, &text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.add("gauge", &name, unit, &text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.add("histogram", &name, unit, &text);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn described(describe: fn()) -> BTreeMap<String, Description> {
    let recorder = Descriptions::default();
    with_local_recorder(&recorder, describe);
    recorder.0.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The metrics of both services, by their names.
pub(crate) fn all() -> BTreeMap<String, Description> {
    let mut all = described(auth_service::describe_metrics);
    all.extend(described(resource_service::describe_metrics));
    all
}

/// What these crates count, by the macros that count it: names, each with its type.
fn counted(crates: &[&str]) -> BTreeSet<(String, &'static str)> {
    let mut found = BTreeSet::new();
    for (file, text) in sources(crates) {
        let text = code(&text);
        for kind in KINDS {
            for (at, called) in text.match_indices(&format!("{kind}!(")) {
                if text[..at].ends_with("describe_") {
                    continue;
                }
                let rest = text[at + called.len()..].trim_start();
                // A name that is put together could be any.
                let name = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
                let name = name.unwrap_or_else(|| panic!("{file}: a {kind} without a name"));
                found.insert((name.to_owned(), kind));
            }
        }
    }
    found
}

#[test]
fn every_metric_is_described_and_every_described_metric_is_counted() {
    let kinds = |all: BTreeMap<String, Description>| -> BTreeSet<(String, &'static str)> {
        all.into_iter().map(|(name, description)| (name, description.kind)).collect()
    };
    let auth = kinds(described(auth_service::describe_metrics));
    let resource = kinds(described(resource_service::describe_metrics));
    let everything = counted(&PRODUCT);
    assert!(everything.len() > 20, "{everything:?}");
    assert_eq!(everything, auth);
    let of_resource = counted(&["claims", "hosting", "problem", "resource-service", "verifier"]);
    assert_eq!(of_resource, resource);
}

#[test]
fn names_and_descriptions_tell_the_unit() {
    for (name, Description { kind, unit, text }) in all() {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let unit = unit.unwrap_or_else(|| panic!("{name} has no unit"));
        for (suffix, of) in [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)] {
            assert_eq!(name.contains(suffix), unit == of, "{name}");
        }
        assert!(matches!(unit, Unit::Count | Unit::Seconds | Unit::Bytes), "{name}: a base unit");
        let sentence = ["How many ", "Whether "].iter().any(|begin| text.starts_with(begin));
        assert!(sentence && text.ends_with('.') && !text.contains(['\n', '`']), "{name}: {text}");
        let told = unit == Unit::Count || text.contains(unit.as_str());
        assert!(told, "{name}: {text}");
    }
}

/// A row of the table of metrics.
pub(crate) struct Row {
    pub(crate) kind: String,
    unit: String,
    /// `A` and `R`, for the services that have it.
    pub(crate) who: String,
    /// From when on there is a series: `start`, `event`, or `Redis`.
    pub(crate) from: String,
    meaning: String,
}

/// The metrics that docs/operations.md explains, by their names.
pub(crate) fn documented() -> BTreeMap<String, Row> {
    let page = read("docs/operations.md");
    let table = page.split("\n## Metrics\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = table.expect("the section").lines().filter(|line| line.starts_with("| `"));
    let mut documented = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').splitn(6, '|').map(str::trim).collect();
        let [name, kind, unit, who, from, meaning] = cells[..] else { panic!("{row}") };
        let [kind, unit, who, from, meaning] = [kind, unit, who, from, meaning].map(str::to_owned);
        let row = Row { kind, unit, who, from, meaning: meaning.replace('`', "") };
        let name = name.trim_matches('`');
        assert!(documented.insert(name.to_owned(), row).is_none(), "{name} is there twice");
    }
    documented
}

#[test]
fn the_table_of_metrics_says_what_the_services_say() {
    let (all, documented) = (all(), documented());
    assert_eq!(documented.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    for (name, Row { kind, unit, who, from, meaning }) in documented {
        let Description { kind: real, text, .. } = &all[&name];
        assert_eq!(kind, *real, "{name}");
        assert!(["A", "R", "A R"].contains(&who.as_str()), "{name}: {who}");
        assert!(["start", "event", "Redis"].contains(&from.as_str()), "{name}: {from}");
        assert!(meaning.starts_with(text), "{name}: begin with: {text}");
        let begin =
            if unit == "0 or 1" { "Whether ".to_owned() } else { format!("How many {unit} ") };
        assert!(text.starts_with(&begin), "{name}: its unit is not {unit}: {text}");
    }
}

/// Beside the table: whatever else names a metric names one that is there.
#[test]
fn every_metric_that_a_document_names_is_there() {
    let all = all();
    for (name, path) in files("") {
        if path.extension().is_none_or(|it| it != "md") || name == "CHANGELOG.md" {
            continue;
        }
        let text = fs::read_to_string(path).expect("text");
        for piece in text.split("latchkey_").skip(1) {
            let end = piece.find(|it: char| !it.is_ascii_lowercase() && it != '_');
            let metric = format!("latchkey_{}", &piece[..end.unwrap_or(piece.len())]);
            // Functions of migrations and crates begin like this too.
            let is_metric = ["_total", "_seconds", "_bytes"].iter().any(|it| metric.ends_with(it));
            assert!(!is_metric || all.contains_key(&metric), "{metric} in {name}");
        }
    }
}

/// As they are served, beside the numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_scrapes_a_service_is_told_what_each_number_means() {
    let world = World::start(Kind::Sqlite).await;
    let tokens = world.newcomer("ada").await;
    Tokens::of(&world.refresh(&tokens.refresh).await);
    let metrics = Answer::to(world.http.get(format!("{}/metrics", world.internal))).await;
    let all = all();
    let mut seen = 0;
    let mut lines = metrics.text.lines();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            assert!(!line.starts_with("# TYPE "), "a type without a description: {line}");
            continue;
        };
        let (name, text) = help.split_once(' ').expect("a text");
        let description = &all[name];
        assert_eq!(text, description.text);
        assert_eq!(lines.next(), Some(format!("# TYPE {name} {}", description.kind).as_str()));
        seen += 1;
    }
    assert!(seen > 6, "{}", metrics.text);
}
