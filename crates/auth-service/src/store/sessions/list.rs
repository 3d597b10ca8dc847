//! The live sessions of a user as they see them, page by page.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use claims::{SessionId, Timestamp};

use super::super::postgres::Lane;
use super::super::records::Caller;
use super::super::rows::{self, is_caller, live, session_columns};
use super::super::{SessionView, Store, StoreError};
use super::caller_values;

/// How many are on a page.
const PAGE: usize = 100;

/// A page of a user's own live sessions, newest first.
#[derive(Debug, Clone)]
pub struct SessionPage {
    pub sessions: Vec<SessionView>,
    /// Where the next page begins, if there is one.
    pub next: Option<SessionPlace>,
}

/// A place in the list of a user's sessions: after this one, also where that has ended meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPlace {
    created_at: Timestamp,
    id: SessionId,
}

impl fmt::Display for SessionPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at.0, self.id)
    }
}

/// The text names no place in a list of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no place in a list of sessions")]
pub struct NoPlace;

impl FromStr for SessionPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (created_at, id) = text.split_once('.').ok_or(NoPlace)?;
        let created_at = Timestamp(created_at.parse().map_err(|_| NoPlace)?);
        Ok(Self { created_at, id: id.parse().map_err(|_| NoPlace)? })
    }
}

impl Store {
    /// The live sessions of the caller's user, a page of them; `None` when the caller's is over. That one is always on
    /// the first page, wherever it would stand, and on no other.
    pub async fn list_sessions(
        &self,
        caller: Caller,
        after: Option<SessionPlace>,
    ) -> Result<Option<SessionPage>, StoreError> {
        // The caller's own is asked for also with a later page: without it there is none. And one more than a page
        // has, to know whether there is another.
        let sql = concat!(
            "with clock as materialized (select {now} as now), caller as materialized ( \
                select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select cast(case when s.id = $1 then 1 else 0 end as bigint) as current, ",
            session_columns!(),
            " from sessions s, users u, caller, clock \
             where u.id = caller.id and s.user_id = u.id and ",
            live!(),
            " and (s.id = $1 or $4 is null or s.created_at < $4 \
                or (s.created_at = $4 and s.id > $5)) \
             order by s.id = $1 desc, s.created_at desc, s.id limit 102"
        );
        let mut values = caller_values(&caller);
        values.push(after.map(|place| place.created_at).into());
        values.push(after.map(|place| place.id).into());
        // It looks at all of them, however many they are.
        let Some(_turn) = self.turn_of(&caller).await? else { return Ok(None) };
        let found = self.read("list_sessions", Lane::Main, sql, values).await?;
        let views: Vec<_> = found.iter().map(rows::session_view).collect::<Result<_, _>>()?;
        Ok(page(views, after.is_none()))
    }
}

/// Of the caller's own session and others after it, in the order of the list.
fn page(found: Vec<SessionView>, first: bool) -> Option<SessionPage> {
    let mut found = found.into_iter();
    let own = found.next()?;
    let mut sessions: Vec<_> = found.collect();
    let room = if first { PAGE - 1 } else { PAGE };
    let is_more = sessions.len() > room;
    sessions.truncate(room);
    let last = sessions.last().filter(|_| is_more);
    let next = last.map(|last| SessionPlace { created_at: last.created_at, id: last.id });
    if first {
        sessions.push(own);
        sessions.sort_by_key(|view| Reverse(view.created_at));
    }
    Some(SessionPage { sessions, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is() {
        let id = "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        let place = SessionPlace { created_at: Timestamp(1_764_000_000_123), id };
        let text = place.to_string();
        assert_eq!(text.parse(), Ok(place));
        for other in ["", ".", "1", "1.", "1.x", "x.AAAAAAAAAAAAAAAAAAAAAA", &format!("{text}.")] {
            assert_eq!(other.parse::<SessionPlace>(), Err(NoPlace), "{other}");
        }
    }
}
