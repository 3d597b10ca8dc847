//! Gives memory back to the system when the process has grown and what made it grow may be over.

use std::thread;
use std::time::Duration;

use rustix::param::page_size;

/// How often the process looks at itself.
const PAUSE: Duration = Duration::from_secs(10);
/// A process that has grown by less than this keeps it: it would soon ask for it again.
const GROWTH_BYTES: usize = 8 * 1024 * 1024;

/// Looks after the memory of this process for as long as it lives, on a thread of its own.
///
/// What is in use is not touched. A process that really needs more is asked once for each 8 MiB that it
/// grows by.
pub(crate) fn look_after() {
    let look = || {
        let mut floor = None;
        while let Some(resident) = resident_bytes() {
            floor = Some(match floor {
                Some(floor) if resident > floor + GROWTH_BYTES => {
                    let given_back = heap::give_back();
                    let left = resident_bytes().unwrap_or(resident);
                    tracing::debug!(
                        memory.before_bytes = resident,
                        memory.after_bytes = left,
                        given_back,
                        "gave memory back to the system"
                    );
                    left
                }
                Some(floor) => resident.min(floor),
                None => resident,
            });
            thread::sleep(PAUSE);
        }
    };
    // Where there is no such thread, more memory is kept than is needed, and nothing else.
    let _ = thread::Builder::new().name("memory".to_owned()).stack_size(128 * 1024).spawn(look);
}

/// What the system holds in memory for this process. Only Linux says it.
fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size())
}
