//! What a process that holds secrets asks of its system before anything else.

use std::panic;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::memory;

/// To be called first in `main`.
///
/// * No core dump, and no look into the memory for other programs of the same user: keys and passwords
///   are in it.
/// * As many file descriptors as the system lets us have: each connection is one.
/// * A panic is told by its place alone: its message may quote what a client sent.
/// * What a flood made the process take is given back to the system when it is over.
pub fn prepare() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Where the system knows nothing of either, there is nothing to be done about it.
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.place = place, "the program has a defect: it panicked");
    }));
    memory::look_after();
}
