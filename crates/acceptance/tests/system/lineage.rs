//! N-R03: replicas on one database give one token one successor, with nothing but the database
//! between them.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use testbed::{Database, Kind, Service, Tokens};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_give_one_successor() {
    let database = Database::create(Kind::Postgres).await;
    let (mut one, mut two) = (Service::auth(&database.url, &[]), Service::auth(&database.url, &[]));
    one.start().await;
    two.start().await;
    for many in [2, 10, 100] {
        let first = one.newcomer(&format!("user{many}")).await;
        let asked = (0..many).map(|at| {
            let replica = if at % 2 == 0 { &one } else { &two };
            replica.refresh(&first.refresh)
        });
        let answers = join_all(asked).await;
        let next: BTreeSet<_> = answers.iter().map(|answer| Tokens::of(answer).refresh).collect();
        assert_eq!(next.len(), 1);
        let next = next.first().expect("one").clone();
        Tokens::of(&two.refresh(&next).await);
    }
    let live = "select count(*) from sessions where revoked_at is null";
    assert_eq!(database.number(live).await, 3);
}
