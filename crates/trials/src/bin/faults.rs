//! Runs the fault harness: real processes, links that fail, users that are honest and users that
//! are not, and a judge. `cargo xtask faults` starts the Postgres that it needs.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use trials::faults::run::{Plan, Play, Verdict, run};

/// Live in an installation while everything that can fail does, and judge what is answered.
#[derive(Parser)]
struct Arguments {
    /// What everything is drawn from; some number without it.
    #[arg(long)]
    seed: Option<u64>,
    /// How long users live, or up to three times as long where the machine is busy with other things.
    /// Healing and the last question come after it.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Stop at the first violation.
    #[arg(long)]
    until_first: bool,
    /// Let nothing go wrong: what the load alone does.
    #[arg(long)]
    no_faults: bool,
}

/// How long after its time a run may still be busy.
const SPARE: Duration = Duration::from_mins(4);

#[tokio::main]
async fn main() -> ExitCode {
    // The services end with us, and we with whoever started us, however that ends.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let arguments = Arguments::parse();
    let plan = Plan {
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        lasts: Duration::from_secs(arguments.seconds),
        until_first: arguments.until_first,
        faults: !arguments.no_faults,
    };
    println!("seed {}", plan.seed);
    // Whatever ends this, the processes end with their values.
    tokio::select! {
        verdict = run(plan) => summary(&verdict, plan),
        () = tokio::time::sleep(plan.lasts * Plan::LONGEST + SPARE) => stopped("the run does not come to its end"),
        _ = tokio::signal::ctrl_c() => stopped("interrupted"),
        () = terminated() => stopped("terminated"),
    }
}

fn stopped(why: &str) -> ExitCode {
    eprintln!("faults: {why}");
    ExitCode::FAILURE
}

async fn terminated() {
    let kind = tokio::signal::unix::SignalKind::terminate();
    match tokio::signal::unix::signal(kind) {
        Ok(mut signal) => _ = signal.recv().await,
        Err(_) => std::future::pending().await,
    }
}

fn summary(verdict: &Verdict, plan: Plan) -> ExitCode {
    for play in &verdict.plays {
        for violation in play.court.shown() {
            println!("\nviolation: {violation}");
        }
    }
    for Play { name, stage, court, .. } in &verdict.plays {
        println!("\n{name}: {} operations in {} lives", stage.tally.total(), court.judged());
        println!("{}", stage.tally);
        if let Some([half, most, all]) = court.seen_after() {
            let [half, most, all] = [half, most, all].map(|time| time.as_millis());
            println!("from 204 to refusal, ms: p50 {half}, p99 {most}, max {all}");
        }
        println!("answers due from services that had no trouble: {}", court.due());
    }
    let operations = verdict.plays.iter().map(|play| play.stage.tally.total());
    println!("\noperations: {}", operations.sum::<u64>());
    let faults = verdict.came();
    println!("faults: {}", faults.values().sum::<u64>());
    for (fault, count) in faults {
        println!("  {count:4} {fault}");
    }
    for what in &verdict.unchecked {
        println!("NOT CHECKED: {what}");
    }
    let idle = verdict.idle(plan);
    for what in &idle {
        println!("too little was tested: {what}");
    }
    println!("violations: {}, seed {}", verdict.violations(), plan.seed);
    if verdict.violations() == 0 && idle.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
