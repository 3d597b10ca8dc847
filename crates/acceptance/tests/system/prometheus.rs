//! deploy/: the real Prometheus takes the alerts and what the services show, and has an answer to everything that
//! the alerts and the dashboard ask.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::Url;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::process::{Process, ready, succeeds};
use testbed::redis::Redis;
use testbed::service::{lasting_address, until};
use testbed::{Answer, Database, Kind, Service};

use crate::documents::fault;
use crate::house::{read, root};
use crate::metrics;

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const TESTS_OF_ALERTS: &str = "deploy/prometheus/alerts.test.yml";
const CONFIGURATION: &str = "deploy/prometheus/prometheus.yml";
const DASHBOARD: &str = "deploy/grafana/latchkey.json";

/// The alerts, each with what is said of it in the file.
fn alerts() -> Vec<(String, String)> {
    let text = read(ALERTS);
    let alerts = text.split("- alert: ").skip(1);
    alerts
        .map(|rest| rest.split_once('\n').expect("a name"))
        .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
        .collect()
}

/// What the panels of the dashboard ask, with values in the place of its variables.
fn questions_of_the_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let questions = targets.map(|target| {
        let question = target["expr"].as_str().expect("a question");
        question.replace("$job", ".*").replace("$instance", ".*").replace("$__rate_interval", "10s")
    });
    questions.collect()
}

/// The metrics that a question names, without what Prometheus makes of a histogram.
fn names(question: &str) -> BTreeSet<String> {
    let all = metrics::all();
    let words = question.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("latchkey_") || word.starts_with("process_"));
    ours.map(|word| {
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().find_map(|part| word.strip_suffix(part));
        let histogram =
            whole.filter(|whole| all.get(*whole).is_some_and(|it| it.kind == "histogram"));
        histogram.unwrap_or(word).to_owned()
    })
    .collect()
}

#[test]
fn the_alerts_are_good_rules_and_each_fires_when_it_should() {
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        succeeds(promtool.args(arguments).current_dir(root().join("deploy/prometheus")));
    }
    let tests = read(TESTS_OF_ALERTS);
    for (name, _) in alerts() {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
    }
}

#[test]
fn whoever_gets_an_alert_is_told_what_to_do() {
    let page = read("docs/operations.md");
    let alerts = alerts();
    assert!(alerts.len() > 15, "{}", alerts.len());
    for (name, text) in &alerts {
        for part in ["severity: ", "summary: ", "description: "] {
            assert!(text.contains(part), "{name} has no {part}");
        }
        let runbook = text.lines().find_map(|line| line.trim().strip_prefix("runbook: "));
        let runbook = runbook.unwrap_or_else(|| panic!("{name} has no runbook"));
        assert_eq!(fault("README.md", runbook), None, "{name}");
        assert!(page.contains(&format!("\n| `{name}` | ")), "{name} is not in docs/operations.md");
    }
    let explained = page.lines().filter_map(|line| line.strip_prefix("| `Latchkey"));
    for row in explained {
        let name = format!("Latchkey{}", row.split('`').next().expect("a name"));
        assert!(alerts.iter().any(|(alert, _)| *alert == name), "there is no alert {name}");
    }
}

#[test]
fn every_metric_is_on_the_dashboard_which_names_no_installation() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    assert_eq!(dashboard["uid"], "latchkey");
    assert!(
        dashboard["schemaVersion"].as_u64() >= Some(36),
        "as Grafana has had it since version 9"
    );
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert_eq!(variables[0]["name"], "datasource");
    assert_eq!(variables[0]["type"], "datasource");
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{}", panel["title"]);
        assert!(panel["gridPos"]["w"].as_u64().is_some_and(|width| width <= 24));
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"], source, "{}", panel["title"]);
            assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()));
        }
    }
    let shown: BTreeSet<_> =
        questions_of_the_dashboard().iter().flat_map(|question| names(question)).collect();
    assert_eq!(shown, metrics::all().into_keys().collect());
}

/// A Prometheus that scrapes both services every second, ended with the value.
struct Prometheus {
    url: String,
    http: reqwest::Client,
    _process: Process,
    _directory: TempDir,
}

impl Prometheus {
    async fn start(auth: &Service, resource: &Service) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (address, place) = (lasting_address(), directory.path());
        let host = |url: &str| url.trim_start_matches("http://").to_owned();
        let mut configuration = read(CONFIGURATION);
        for (from, to) in [
            ("127.0.0.1:9080", host(&auth.internal)),
            ("127.0.0.1:9081", host(&resource.internal)),
            ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
            ("evaluation_interval: 15s", "evaluation_interval: 1s".to_owned()),
            ("- alerts.yml", format!("- {}", root().join(ALERTS).display())),
        ] {
            assert!(configuration.contains(from), "{from}");
            configuration = configuration.replace(from, &to);
        }
        let file = place.join("prometheus.yml");
        fs::write(&file, configuration).expect("it can be written");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", place.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(place)
            .stderr(Stdio::null());
        let process = Process::run(&mut command);
        let (url, http) = (format!("http://{address}"), reqwest::Client::new());
        ready(&http, &format!("{url}/-/ready")).await;
        Self { url, http, _process: process, _directory: directory }
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = Url::parse_with_params(&format!("{}{path}", self.url), parameters);
        let answer = Answer::to(self.http.get(url.expect("an address"))).await;
        let told = answer.json();
        assert_eq!(told["status"], "success", "{parameters:?}: {}", answer.text);
        told["data"].clone()
    }

    /// The series that answer a question.
    async fn ask(&self, question: &str) -> Vec<Value> {
        let data = self.get("/api/v1/query", &[("query", question)]).await;
        data["result"].as_array().expect("series").clone()
    }

    async fn rules(&self) -> Vec<Value> {
        let data = self.get("/api/v1/rules", &[]).await;
        let groups = data["groups"].as_array().expect("groups");
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }
}

/// One of each thing that people do.
async fn use_everything(auth: &Service, resource: &Service) {
    let tokens = auth.newcomer("ada").await;
    let wrong = json!({"username": "ada", "password": "another quite ordinary sentence"});
    assert_eq!(auth.post("/login", &wrong).await.status, 401);
    assert_eq!(auth.refresh(&tokens.refresh).await.status, 200);
    assert_eq!(resource.whoami(&tokens.access).await.status, 200);
    assert_eq!(resource.whoami("not-a-token").await.status, 401);
    auth.logout(&tokens.refresh).await;
}

/// What Prometheus itself has against names, types and descriptions.
fn check(metrics: &str) {
    let mut promtool = Command::new("promtool");
    let piped = promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let started = piped.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut process = started.expect("promtool can be run");
    let mut input = process.stdin.take().expect("a pipe");
    input.write_all(metrics.as_bytes()).expect("it reads");
    drop(input);
    let output = process.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_has_an_answer_to_what_the_alerts_and_the_dashboard_ask() {
    let redis = Redis::start(&[]).await;
    let database = Database::create(Kind::Postgres).await;
    let mut auth = Service::auth(&database.url, &[("AUTH__REDIS__URL", &redis.url())]);
    auth.start().await;
    let mut resource = Service::resource(&auth, &[]);
    resource.start().await;
    let prometheus = Prometheus::start(&auth, &resource).await;
    until("both are scraped", async || prometheus.ask("up == 1").await.len() == 2).await;
    use_everything(&auth, &resource).await;
    for service in [&auth, &resource] {
        check(&service.metrics().await);
    }
    // A rate takes two scrapes.
    let twice = "count_over_time(latchkey_refreshes_total[1m]) >= 3";
    until("what was done is scraped", async || !prometheus.ask(twice).await.is_empty()).await;

    let documented = metrics::documented();
    let mut seen = BTreeSet::new();
    for (name, row) in &documented {
        let series = if row.kind == "histogram" { format!("{name}_count") } else { name.clone() };
        for (who, job) in [("A", "latchkey-auth"), ("R", "latchkey-resource")] {
            let found = prometheus.ask(&format!("{series}{{job=\"{job}\"}}")).await;
            if !found.is_empty() {
                assert!(row.who.contains(who), "{job} shows {name}, which is not documented of it");
                seen.insert(name.clone());
            }
            let awaited = row.who.contains(who) && row.from != "event";
            assert!(!found.is_empty() || !awaited, "{job} does not show {name}");
        }
    }

    until("the alerts are judged", async || {
        prometheus.rules().await.iter().all(|rule| rule["health"] != "unknown")
    })
    .await;
    let rules = prometheus.rules().await;
    assert_eq!(rules.len(), alerts().len());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
        let question = rule["query"].as_str().expect("a question");
        assert!(!names(question).is_empty() || question.starts_with("up"), "{question}");
        for name in names(question) {
            assert!(documented.contains_key(&name), "{name} in {}", rule["name"]);
        }
    }
    for question in questions_of_the_dashboard() {
        let answer = prometheus.ask(&question).await;
        let answerable = names(&question).is_subset(&seen);
        assert!(!answerable || !answer.is_empty(), "no answer to {question}");
    }
}
