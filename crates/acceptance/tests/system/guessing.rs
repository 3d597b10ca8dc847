//! What a stranger learns from login about which accounts exist: nothing.

use acceptance::Kind;
use acceptance::guessing::guess;

/// Hashing as long as makes it most of a login, as it is by default.
const COST: [(&str, &str); 2] =
    [("AUTH__PASSWORDS__MEMORY_KIB", "4096"), ("AUTH__PASSWORDS__ITERATIONS", "1")];

/// `cargo xtask guessing` tries two thousand of each, at the default cost.
async fn nothing_is_told(kind: Kind) {
    let report = guess(kind, 150, &COST).await;
    println!("{report}");
    assert!(report.is_good(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_wrong_and_disabled_are_answered_alike_and_as_late_on_postgres() {
    nothing_is_told(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_wrong_and_disabled_are_answered_alike_and_as_late_on_sqlite() {
    nothing_is_told(Kind::Sqlite).await;
}
