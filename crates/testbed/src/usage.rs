//! What processes on this machine use, by what Linux tells of them.

#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics where the system does not tell"
)]

use std::fs;
use std::time::Duration;

use crate::{Database, Kind};

/// In a second; the same on every Linux there is.
const CLOCK_TICKS: u64 = 100;

/// Memory that is resident now, and the most that ever was, in KiB.
#[must_use]
pub fn resident_kib(process: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs, on Linux");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// Seconds of processor time that the process has used.
#[must_use]
pub fn cpu_seconds(process: u32) -> f64 {
    seconds(Stat::of(process).expect("it runs, on Linux").own)
}

/// How long threads of the process, all together, have been able to run and waited for a processor. `None`
/// where it does not run.
#[must_use]
pub fn waited_for_processor(process: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    // Of each: nanoseconds that it ran, nanoseconds that it waited, and how often.
    let waited = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').nth(1)?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(waited.sum()))
}

/// Seconds of processor time that all processes of a Postgres server have used, those included that
/// have ended.
#[must_use]
pub fn server_cpu_seconds(postmaster: u32) -> f64 {
    let own = Stat::of(postmaster).expect("it runs, on Linux");
    let all = fs::read_dir("/proc").expect("this is Linux").flatten();
    let all = all.filter_map(|entry| Stat::of(entry.file_name().to_str()?.parse().ok()?));
    let children = all.filter(|stat| stat.parent == postmaster).map(|stat| stat.own);
    seconds(own.own + own.ended + children.sum::<u64>())
}

/// The first process of the Postgres server, which must be on this machine.
pub async fn postmaster(database: &Database) -> u32 {
    assert_eq!(database.kind(), Kind::Postgres);
    let pool = database.postgres().await;
    let mut connection = pool.acquire().await.expect("the database answers");
    let backend: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut *connection)
        .await
        .expect("it has a number");
    let backend = Stat::of(backend.unsigned_abs()).expect("the server is on this machine");
    drop(connection);
    pool.close().await;
    backend.parent
}

struct Stat {
    parent: u32,
    own: u64,
    /// Of children that have ended.
    ended: u64,
}

impl Stat {
    fn of(process: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name, which may have spaces, is in parentheses; the state comes first after it.
        let fields: Vec<_> = text.rsplit_once(") ")?.1.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            ended: number(13)? + number(14)?,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / CLOCK_TICKS as f64
}
