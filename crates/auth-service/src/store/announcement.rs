//! Word that there may be a revocation to read.

use tokio::sync::watch;

use super::Store;

impl Store {
    pub(super) fn announcement(&self) -> Announcement {
        Announcement(Some(self.commits.clone()))
    }
}

/// Wakes the readers of revocations when a write is over, in the write's own task: also after a
/// failure, because it may have been committed all the same.
pub(super) struct Announcement(Option<watch::Sender<()>>);

impl Announcement {
    /// There turned out to be nothing to announce.
    pub(super) fn withdraw(mut self) {
        self.0 = None;
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Some(commits) = &self.0 {
            commits.send_replace(());
        }
    }
}
