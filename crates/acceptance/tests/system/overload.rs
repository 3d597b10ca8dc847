//! A flood of logins is turned away in good order. What it does to others' waiting is measured by
//! `cargo xtask overload`; a test machine that is busy says nothing about that.

use acceptance::overload::{Options, overload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logins_is_turned_away_and_everybody_else_is_served() {
    let options = Options { seconds: 3, clients: 128, nice: 19, memory_kib: 19_456, iterations: 2 };
    let report = overload(&options).await;
    println!("{report}");
    assert!(report.is_orderly(), "{report}");
    let answered = |status| report.answers.counts.get(&status).copied().unwrap_or_default();
    assert!(answered(401) > 0 && answered(503) + answered(429) > 0, "{report}");
    assert!(report.flooded.seen.logout.count() == 15, "{report}");
}
