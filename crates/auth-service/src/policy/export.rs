//! Everything that is kept about somebody, as one JSON document that is written a part at a time: in memory there is one
//! part, however much it is, and nothing of the database is held between two.
//!
//! The parts are not of one moment: what is added or deleted meanwhile may be in it or not.

use claims::UserId;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::Serialize;

use crate::error::Error;
use crate::policy::admission;
use crate::policy::app::App;
use crate::store::{Caller, ExportedUser, Store, StoreError};

/// The export of the caller's user, unless they asked for it too often.
pub(crate) async fn own(
    app: &App,
    caller: Caller,
) -> Result<impl Stream<Item = Result<Vec<u8>, StoreError>> + use<>, Error> {
    let user = app.store.user_of(caller).await?.ok_or(Error::InvalidToken)?.id;
    admission::export(app, user)?;
    of(&app.store, user).await?.ok_or(Error::InvalidToken)
}

/// The export of a user; `None` where there is none.
pub(crate) async fn of(
    store: &Store,
    user: UserId,
) -> Result<Option<impl Stream<Item = Result<Vec<u8>, StoreError>> + use<>>, StoreError> {
    let Some(exported) = store.exported_user(user).await? else { return Ok(None) };
    let next = Next::User(Box::new(exported));
    let document = Document { store: store.clone(), user, next, list_is_empty: true };
    Ok(Some(try_unfold(document, Document::part)))
}

/// A document that is being written.
struct Document {
    store: Store,
    user: UserId,
    next: Next,
    /// Whether the list that is open has no element yet.
    list_is_empty: bool,
}

/// What comes next, and after which row.
enum Next {
    User(Box<ExportedUser>),
    Invitations(Option<String>),
    Sessions(Option<String>),
    Events(i64),
    FailedLogins(i64),
    End,
}

impl Document {
    /// The next part, which is never empty: an empty one would end the answer.
    async fn part(mut self) -> Result<Option<(Vec<u8>, Self)>, StoreError> {
        let mut text = Vec::new();
        while text.is_empty() {
            match std::mem::replace(&mut self.next, Next::End) {
                Next::User(user) => {
                    text.extend(b"{\"user\":");
                    text.extend(json(&*user));
                    self.open(&mut text, ",\"invitations\":[", Next::Invitations(None));
                }
                Next::Invitations(after) => {
                    let rows = self.store.exported_invitations(self.user, after).await?;
                    match rows.last() {
                        Some(last) => self.next = Next::Invitations(Some(last.id.clone())),
                        None => self.open(&mut text, "],\"sessions\":[", Next::Sessions(None)),
                    }
                    self.write(&mut text, &rows);
                }
                Next::Sessions(after) => {
                    let rows = self.store.exported_sessions(self.user, after).await?;
                    match rows.last() {
                        Some(last) => self.next = Next::Sessions(Some(last.id.clone())),
                        None => self.open(&mut text, "],\"events\":[", Next::Events(0)),
                    }
                    self.write(&mut text, &rows);
                }
                Next::Events(after) => {
                    let rows = self.store.exported_events(self.user, false, after).await?;
                    self.next =
                        rows.last().map_or(Next::FailedLogins(0), |last| Next::Events(last.id));
                    self.write(&mut text, &rows);
                }
                Next::FailedLogins(after) => {
                    let rows = self.store.exported_events(self.user, true, after).await?;
                    match rows.last() {
                        Some(last) => self.next = Next::FailedLogins(last.id),
                        None => text.extend(b"]}\n"),
                    }
                    self.write(&mut text, &rows);
                }
                Next::End => return Ok(None),
            }
        }
        Ok(Some((text, self)))
    }

    /// Ends what was written, and begins a list.
    fn open(&mut self, text: &mut Vec<u8>, between: &str, next: Next) {
        text.extend(between.as_bytes());
        (self.list_is_empty, self.next) = (true, next);
    }

    fn write<T: Serialize>(&mut self, text: &mut Vec<u8>, rows: &[T]) {
        for row in rows {
            if !std::mem::replace(&mut self.list_is_empty, false) {
                text.push(b',');
            }
            text.extend(json(row));
        }
    }
}

fn json<T: Serialize>(row: &T) -> Vec<u8> {
    serde_json::to_vec(row).expect("rows are plain data")
}
