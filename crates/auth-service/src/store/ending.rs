//! Sessions that are ended by their ids.

use claims::SessionId;

use super::{Backend, EndReason, Store, StoreError, bounded};

impl Store {
    /// Ends a session. Ending it twice, or one that never was, changes nothing.
    pub async fn end_session(&self, id: SessionId, why: EndReason) -> Result<(), StoreError> {
        self.end_each(vec![id], why).await
    }

    /// The same for several sessions, whosever they are, in one step: all of them, or none where there
    /// is an error.
    pub async fn end_each(&self, ids: Vec<SessionId>, why: EndReason) -> Result<(), StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _announcement = announcement;
            db.end_each(&ids, why).await
        })
    }
}
