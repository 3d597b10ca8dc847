//! How far a follower has got, as the text that it brings back.
//!
//! `<epoch>.<horizon>` and then `.<replica>.<number>` for each replica that answered it lately. A
//! replica that is named goes on after the number; so a transaction that holds the horizon back
//! causes no repeats, not even where a proxy sends each request to another replica. One that is not
//! named goes on from the horizon, which means the same everywhere within an epoch.

use std::fmt::{self, Display};

use crate::store::Horizon;

/// As many replicas as are remembered: more than anybody has behind one name.
const REPLICAS: usize = 16;
/// In place of an epoch where the database has none.
const NO_EPOCH: &str = "0";

/// What a follower has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) horizon: Option<Horizon>,
    /// And of each of these replicas everything up to a number; the last one asked comes first.
    replicas: Vec<(String, u64)>,
}

impl Cursor {
    /// Reads what [`Display`] wrote; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (epoch, xid) = (parts.next()?, parts.next()?.parse().ok()?);
        let horizon = (epoch != NO_EPOCH).then(|| Horizon { epoch: epoch.to_owned(), xid });
        let mut replicas = Vec::new();
        while let Some(replica) = parts.next() {
            if replica.is_empty() || replicas.len() == REPLICAS {
                return None;
            }
            replicas.push((replica.to_owned(), parts.next()?.parse().ok()?));
        }
        (!replicas.is_empty()).then_some(Self { horizon, replicas })
    }

    /// How far it has got with this replica.
    pub(super) fn number(&self, replica: &str) -> Option<u64> {
        self.replicas.iter().find(|(name, _)| name == replica).map(|(_, number)| *number)
    }

    /// Where it stands after an answer of this replica's.
    pub(super) fn after(mut self, replica: &str, number: u64, horizon: Option<Horizon>) -> Self {
        self.replicas.retain(|(name, _)| name != replica);
        self.replicas.insert(0, (replica.to_owned(), number));
        self.replicas.truncate(REPLICAS);
        self.horizon = match (self.horizon, horizon) {
            (Some(old), Some(new)) if old.epoch == new.epoch && old.xid > new.xid => Some(old),
            (_, new) => new,
        };
        self
    }
}

impl Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.horizon {
            Some(horizon) => write!(f, "{}.{}", horizon.epoch, horizon.xid)?,
            None => write!(f, "{NO_EPOCH}.0")?,
        }
        self.replicas.iter().try_for_each(|(name, number)| write!(f, ".{name}.{number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn horizon(epoch: &str, xid: u64) -> Horizon {
        Horizon { epoch: epoch.to_owned(), xid }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for cursor in [
            Cursor::default().after("a", 1, None),
            Cursor::default().after("a", 1, Some(horizon("e", 7))),
            Cursor::default().after("a", 1, Some(horizon("e", 7))).after(
                "b",
                0,
                Some(horizon("e", 8)),
            ),
        ] {
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for nonsense in
            ["", ".", "e", "e.1", "e.1.a", "e.1.a.", "e.1..1", "e.x.a.1", "e.1.a.-1", "e.1.a.1."]
        {
            assert_eq!(Cursor::parse(nonsense), None, "{nonsense}");
        }
        let too_long = format!("e.1{}", ".a.1".repeat(REPLICAS + 1));
        assert_eq!(Cursor::parse(&too_long), None, "longer than any of ours");
    }

    #[test]
    fn a_follower_passed_around_keeps_its_place_at_each_replica() {
        let mut cursor = Cursor::default();
        for number in 1..=18 {
            cursor = cursor.after(&number.to_string(), number, Some(horizon("e", 30 - number)));
        }
        assert_eq!(cursor.horizon, Some(horizon("e", 29)), "what was seen stays seen");
        assert_eq!(cursor.number("18"), Some(18));
        assert_eq!(cursor.number("3"), Some(3));
        assert_eq!(cursor.number("2"), None, "too long ago");
        let cursor = cursor.after("3", 9, Some(horizon("f", 2)));
        assert_eq!((cursor.number("3"), cursor.horizon), (Some(9), Some(horizon("f", 2))));
    }
}
