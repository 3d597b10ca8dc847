//! What earlier lines of a file had, so that a later one does not come in their way: as much of each as tells whether
//! the later one says the same. That is about 150 bytes for a line.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use claims::{Timestamp, UserId};

use crate::identity::names::NameKey;
use crate::store::ImportedUser;

/// The users of earlier lines.
#[derive(Default)]
pub(super) struct Seen {
    users: Vec<Brief>,
    /// By digests of ids, names and addresses: where the user is in `users`.
    by_key: HashMap<u64, usize>,
    digests: RandomState,
}

struct Brief {
    line: u64,
    id: Option<UserId>,
    created_at: Option<Timestamp>,
    /// Of all else.
    digest: u64,
}

/// An earlier line has the id, the name or the address of a later one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    /// And all else.
    Equal,
    /// This member, and not all else.
    Other { line: u64, member: &'static str },
}

impl Seen {
    /// Takes note of the user of a line; or says how an earlier one is in its way, and takes none.
    pub(super) fn add(&mut self, line: u64, user: &ImportedUser) -> Option<Repeated> {
        let digest = |named: Option<&(String, NameKey)>| {
            // A name and an address have no key in common.
            named.map(|(_, key)| self.digests.hash_one(key.as_str()))
        };
        let keys = [
            ("id", user.id.map(|id| self.digests.hash_one(id))),
            ("username", digest(user.username.as_ref())),
            ("email", digest(user.email.as_ref())),
        ];
        let keys: Vec<(&'static str, u64)> =
            keys.into_iter().filter_map(|(member, key)| Some((member, key?))).collect();
        let earlier: Vec<(&'static str, usize)> = keys
            .iter()
            .filter_map(|(member, key)| Some((*member, *self.by_key.get(key)?)))
            .collect();
        let brief = self.brief(line, user);
        let Some(&(member, first)) = earlier.first() else {
            let at = self.users.len();
            self.by_key.extend(keys.into_iter().map(|(_, key)| (key, at)));
            self.users.push(brief);
            return None;
        };
        let there = &self.users[first];
        let is_said = earlier.iter().all(|(_, at)| *at == first)
            && there.digest == brief.digest
            && (brief.id.is_none() || brief.id == there.id)
            && (brief.created_at.is_none() || brief.created_at == there.created_at);
        Some(if is_said { Repeated::Equal } else { Repeated::Other { line: there.line, member } })
    }

    fn brief(&self, line: u64, user: &ImportedUser) -> Brief {
        let text = |named: Option<&(String, NameKey)>| named.map(|(text, _)| text.clone());
        let mut roles = user.roles.clone();
        roles.sort_unstable();
        roles.dedup();
        let digest = self.digests.hash_one((
            text(user.username.as_ref()),
            text(user.email.as_ref()),
            &user.password_hash,
            roles,
            user.enabled,
        ));
        Brief { line, id: user.id, created_at: user.created_at, digest }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::identity::names::{email, username};

    fn user(name: &str) -> ImportedUser {
        ImportedUser {
            id: None,
            username: Some((name.to_owned(), username(name).unwrap())),
            email: None,
            password_hash: "hash".to_owned(),
            roles: vec!["a".to_owned(), "b".to_owned()],
            enabled: true,
            created_at: None,
        }
    }

    #[test]
    fn a_later_line_that_says_the_same_is_equal_and_any_other_is_in_the_way() {
        let mut seen = Seen::default();
        let address = "ada@example.com";
        let ada = ImportedUser {
            id: Some(UserId(Uuid::max())),
            email: Some((address.to_owned(), email(address).unwrap())),
            created_at: Some(Timestamp(1000)),
            ..user("Ada")
        };
        assert_eq!(seen.add(1, &ada), None);
        assert_eq!(seen.add(2, &user("bob")), None);
        for equal in [
            ada.clone(),
            ImportedUser { id: None, created_at: None, ..ada.clone() },
            ImportedUser { roles: vec!["b".to_owned(), "a".to_owned()], ..ada.clone() },
        ] {
            assert_eq!(seen.add(3, &equal), Some(Repeated::Equal));
        }
        let other = |line, member| Some(Repeated::Other { line, member });
        let of_ada = || ImportedUser { id: None, ..ada.clone() };
        for differs in [
            ImportedUser { username: user("ADA").username, ..of_ada() },
            ImportedUser { password_hash: "other".to_owned(), ..of_ada() },
            ImportedUser { enabled: false, ..of_ada() },
            ImportedUser { created_at: Some(Timestamp(2000)), ..of_ada() },
            ImportedUser { roles: Vec::new(), ..of_ada() },
            ImportedUser { id: Some(UserId(Uuid::nil())), ..of_ada() },
            ImportedUser { email: None, ..of_ada() },
        ] {
            assert_eq!(seen.add(4, &differs), other(1, "username"), "{differs:?}");
        }
        assert_eq!(seen.add(5, &ImportedUser { id: ada.id, ..user("carl") }), other(1, "id"));
        let address = ImportedUser { email: ada.email.clone(), ..user("dora") };
        assert_eq!(seen.add(6, &address), other(1, "email"));
        let both = ImportedUser { email: ada.email, ..user("bob") };
        assert_eq!(seen.add(7, &both), other(2, "username"));
        // None of them is remembered.
        assert_eq!(seen.add(8, &user("carl")), None);
    }
}
