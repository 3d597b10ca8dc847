//! `auth-service user import`: users of another system, with the hashes of their passwords.
//!
//! Each line is judged by itself, whatever is in the others. Some hundred at a time go to the database in one
//! transaction, so a million take minutes. Who is there just so already is passed over, so a run that was cut off is
//! taken up by running it again.

mod line;
mod lines;
mod seen;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use verifier::Clock;

use super::console::{Failure, remark, say};
use crate::config::Config;
use crate::passwords::imported::Importer;
use crate::policy::import::{self, Verdict};
use crate::store::{ImportedUser, Store};
use line::Reader;
use lines::{Lines, TooLong};
use seen::{Repeated, Seen};

/// How many lines one transaction adds: for a fraction of a second nobody else writes on SQLite.
const AT_ONCE: usize = 500;
/// After how many lines it is told how far this is.
const TOLD_EVERY: u64 = 10_000;

/// How to import.
pub(super) struct Options {
    /// Only say what would become of each line.
    pub(super) dry_run: bool,
    /// Of passwords over 72 bytes take the first 72 for the whole where the hash is bcrypt's.
    pub(super) bcrypt_truncate: bool,
}

/// Adds a user for each line of JSON. Fails where a line could not be used, after the others.
pub(super) async fn run(
    config: &Config,
    store: &Store,
    file: &Path,
    options: &Options,
) -> Result<(), Failure> {
    let named = |error: io::Error| format!("{}: {error}", file.display());
    let importer = Importer::new(&config.passwords, options.bcrypt_truncate)?;
    let now = Clock::with_offset(config.clock.offset_seconds).now();
    let reader = Reader { config, importer: &importer, now };
    let mut lines = Lines::new(BufReader::new(File::open(file).map_err(named)?));
    let mut import = Import {
        store,
        importer: &importer,
        dry_run: options.dry_run,
        seen: Seen::default(),
        batch: Vec::new(),
        told: Vec::new(),
        counts: Counts::default(),
    };
    let ended = loop {
        match lines.next_line() {
            Ok(Some((number, line))) => import.take(&reader, number, line),
            Ok(None) => break Ok(()),
            // What came before it is good all the same.
            Err(error) => break Err(named(error)),
        }
        if import.is_full() {
            import.add().await?;
        }
    };
    import.add().await?;
    import.sum_up();
    ended?;
    match import.counts.conflicts + import.counts.bad {
        0 => Ok(()),
        unused => Err(format!("{unused} lines could not be used").into()),
    }
}

/// An import under way.
struct Import<'a> {
    store: &'a Store,
    importer: &'a Importer,
    dry_run: bool,
    seen: Seen,
    /// What the next transaction is to add.
    batch: Vec<Taken>,
    /// What is to be said of lines since the last one, in no order.
    told: Vec<(u64, String)>,
    counts: Counts,
}

/// A line that can be used.
struct Taken {
    number: u64,
    user: ImportedUser,
    refuses_long: bool,
}

#[derive(Default)]
struct Counts {
    lines: u64,
    added: u64,
    known: u64,
    renewed: u64,
    conflicts: u64,
    bad: u64,
    /// Up to which line it was told how far this is.
    told_until: u64,
    /// Of those who were added: with a hash of bcrypt that no password over 72 bytes is good for.
    refuse_long: u64,
}

impl Import<'_> {
    fn take(&mut self, reader: &Reader<'_>, number: u64, line: Result<Vec<u8>, TooLong>) {
        self.counts.lines = number;
        let read = line.map_err(|long| long.to_string()).and_then(|text| reader.read(&text));
        let (user, refuses_long) = match read {
            Ok(Some(read)) => read,
            // Nothing is on it.
            Ok(None) => return,
            Err(why) => {
                self.counts.bad += 1;
                self.told.push((number, why));
                return;
            }
        };
        match self.seen.add(number, &user) {
            None => self.batch.push(Taken { number, user, refuses_long }),
            Some(Repeated::Equal) => self.counts.known += 1,
            Some(Repeated::Other { line, member }) => {
                self.counts.conflicts += 1;
                self.told.push((number, format!("conflict: {member}: line {line} has it too")));
            }
        }
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= AT_ONCE || self.told.len() >= AT_ONCE
    }

    /// Adds what was taken, and tells of lines in their order.
    async fn add(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        let (numbers, users): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|one| ((one.number, one.refuses_long), one.user)).unzip();
        if !users.is_empty() {
            let done = import::add(self.store, self.importer, &users, self.dry_run).await;
            let verdicts = done.map_err(|error| {
                self.tell();
                self.sum_up();
                let (first, last) = (numbers[0].0, numbers[numbers.len() - 1].0);
                format!(
                    "lines {first} to {last}: {error}; what was added before them stays, and running the same \
                     import again goes on"
                )
            })?;
            for ((number, refuses_long), verdict) in numbers.into_iter().zip(verdicts) {
                match verdict {
                    Verdict::Added => {
                        self.counts.added += 1;
                        self.counts.refuse_long += u64::from(refuses_long);
                    }
                    Verdict::Known { renewed } => {
                        self.counts.known += 1;
                        self.counts.renewed += u64::from(renewed);
                    }
                    Verdict::Conflict(why) => {
                        self.counts.conflicts += 1;
                        self.told.push((number, format!("conflict: {why}")));
                    }
                }
            }
        }
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        self.told.sort_unstable_by_key(|(number, _)| *number);
        for (number, text) in self.told.drain(..) {
            say(&format!("line {number}: {text}"));
        }
        if self.counts.lines >= self.counts.told_until + TOLD_EVERY {
            self.counts.told_until = self.counts.lines;
            remark(&format!("{} lines: {}", self.counts.lines, self.summary()));
        }
    }

    fn sum_up(&self) {
        let Counts { refuse_long, renewed, .. } = self.counts;
        if refuse_long > 0 {
            say(&format!(
                "{refuse_long} of those who are new have a hash of bcrypt, which knows the first 72 bytes of a password \
                 only: whoever has a longer one cannot log in; where they could in the system that they come from, \
                 import with --bcrypt-truncate"
            ));
        }
        if renewed > 0 {
            say(&format!("{renewed} of those who are there have a hash that a login made anew"));
        }
        say(&self.summary());
    }

    fn summary(&self) -> String {
        let Counts { added, known, conflicts, bad, .. } = self.counts;
        let added =
            if self.dry_run { format!("{added} would be added") } else { format!("{added} added") };
        format!("{added}, {known} there already, {conflicts} in conflict, {bad} bad")
    }
}
