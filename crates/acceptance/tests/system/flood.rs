//! N-U07: a thousand logins at once take bounded memory, and who refreshes does not wait for them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use testbed::usage::resident_kib;
use testbed::{Database, Kind, PASSWORD, Service, Tokens};

const LOGINS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_logins_at_once_take_bounded_memory_and_hold_nobody_up() {
    let database = Database::create(Kind::Sqlite).await;
    // As shipped: 19 MiB for each hash, 19 GB if all were made at once.
    let shipped = [("AUTH__PASSWORDS__MEMORY_KIB", "19456"), ("AUTH__PASSWORDS__ITERATIONS", "2")];
    let mut auth = Service::auth(&database.url, &shipped);
    auth.start().await;
    let mut tokens = auth.newcomer("ada").await;
    let before = resident_kib(auth.pid()).0;
    let body = json!({"username": "ada", "password": PASSWORD});
    let begun = Instant::now();
    let flood = async { join_all((0..LOGINS).map(|_| auth.post("/login", &body))).await };
    let mut waits = Vec::new();
    let mut most = 0;
    let refreshes = async {
        loop {
            let asked = Instant::now();
            tokens = Tokens::of(&auth.refresh(&tokens.refresh).await);
            waits.push(asked.elapsed());
            most = most.max(resident_kib(auth.pid()).0);
        }
    };
    let answers = tokio::select! { answers = flood => answers, () = refreshes => unreachable!() };
    let took = begun.elapsed();
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.assert_problem(503, "unavailable");
    }
    waits.sort();
    // Of so few it is about the longest, which a busy machine decides.
    let median = waits.get(waits.len() / 2).copied().unwrap_or_default();
    let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default();
    let grown = most.saturating_sub(before) / 1024;
    println!(
        "{good} of {LOGINS} logged in within {took:?}; {} refreshes meanwhile, p99 {p99:?}; \
         {grown} MiB more at the most",
        waits.len()
    );
    assert!((1..LOGINS).contains(&good), "{good}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(grown < 256, "{grown} MiB");
    assert!(waits.len() > 3 && p99 < Duration::from_secs(20), "{waits:?}");
    assert!(median < Duration::from_secs(3), "{waits:?}");
    Tokens::of(&auth.post("/login", &body).await);
}
