//! Users of another system, beside the accounts that are there.

use std::collections::{BTreeSet, HashMap};

use claims::UserId;

use crate::identity::names::NameKey;
use crate::passwords::imported::Importer;
use crate::store::{Holder, ImportedUser, Store, StoreError};

/// What became of somebody who was to be added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Added,
    /// They are there, in everything that was said of them. `renewed`: with a hash that a login made anew since.
    Known {
        renewed: bool,
    },
    /// Somebody else is in the way, or they are there otherwise; in words.
    Conflict(String),
}

/// Adds those who are not there, or with `dry_run` only says who they are. No two of them may have an id, a
/// name or an address in common.
pub(crate) async fn add(
    store: &Store,
    importer: &Importer,
    users: &[ImportedUser],
    dry_run: bool,
) -> Result<Vec<Verdict>, StoreError> {
    let added = if dry_run { vec![false; users.len()] } else { store.add_users(users).await? };
    let left: Vec<&ImportedUser> =
        users.iter().zip(&added).filter(|(_, added)| !**added).map(|(user, _)| user).collect();
    let holders = if left.is_empty() { Vec::new() } else { store.holders(&left).await? };
    let holders = Holders::new(&holders);
    let verdict = |(user, added): (&ImportedUser, &bool)| {
        if *added {
            return Verdict::Added;
        }
        holders.judge(importer, user).unwrap_or_else(|| {
            if dry_run {
                Verdict::Added
            } else {
                let moved = "whoever was in the way is not there any more; run the import again";
                Verdict::Conflict(moved.to_owned())
            }
        })
    };
    Ok(users.iter().zip(&added).map(verdict).collect())
}

/// Accounts by what they may have in common with somebody.
struct Holders<'a> {
    ids: HashMap<UserId, &'a Holder>,
    names: HashMap<&'a str, &'a Holder>,
    addresses: HashMap<&'a str, &'a Holder>,
}

impl<'a> Holders<'a> {
    fn new(holders: &'a [Holder]) -> Self {
        Self {
            ids: holders.iter().map(|one| (one.user.id, one)).collect(),
            names: holders.iter().map(|one| (one.username_key.as_str(), one)).collect(),
            addresses: holders
                .iter()
                .filter_map(|one| Some((one.email_key.as_deref()?, one)))
                .collect(),
        }
    }

    /// What these accounts mean for somebody; `None` where none has anything of theirs.
    fn judge(&self, importer: &Importer, user: &ImportedUser) -> Option<Verdict> {
        let by_name = user.username.as_ref().and_then(|(_, key)| self.names.get(key.as_str()));
        let by_address = user.email.as_ref().and_then(|(_, key)| self.addresses.get(key.as_str()));
        let held = [
            ("id", user.id.and_then(|id| self.ids.get(&id))),
            ("username", by_name),
            ("email", by_address),
        ];
        let held: Vec<_> =
            held.into_iter().filter_map(|(member, one)| Some((member, *one?))).collect();
        let (_, first) = held.first()?;
        if first.deleted {
            let text = "id: it is that of a user who was deleted; try again in some minutes";
            return Some(Verdict::Conflict(text.to_owned()));
        }
        if held.iter().any(|(_, other)| other.user.id != first.user.id) {
            let each = held.iter().map(|(member, one)| format!("{member} is id:{}'s", one.user.id));
            return Some(Verdict::Conflict(each.collect::<Vec<_>>().join(", ")));
        }
        Some(compared(importer, user, first))
    }
}

/// Whether the account is as the line says.
fn compared(importer: &Importer, user: &ImportedUser, there: &Holder) -> Verdict {
    let written = |named: Option<&(String, NameKey)>| named.map(|(text, _)| text.clone());
    let roles = |roles: &[String]| roles.iter().cloned().collect::<BTreeSet<_>>();
    let same_id = user.id.map(|id| id == there.user.id);
    // An export has whole seconds.
    let begin = there.user.created_at.unix_seconds();
    let same_begin = user.created_at.map(|at| at.unix_seconds() == begin);
    let same_hash = user.password_hash == there.password_hash;
    // Nobody but an import has the id or the begin of an account of elsewhere. Where neither is given, somebody
    // else may have registered under this name, and a hash of theirs looks no different.
    let is_theirs = same_id == Some(true) || same_begin == Some(true);
    let renewed =
        !same_hash && is_theirs && importer.is_renewed(&there.password_hash, &user.password_hash);
    let members = [
        ("id", same_id == Some(false)),
        ("username", written(user.username.as_ref()) != there.user.username),
        ("email", written(user.email.as_ref()) != there.user.email),
        ("password_hash", !same_hash && !renewed),
        ("roles", roles(&user.roles) != roles(&there.user.roles)),
        ("enabled", user.enabled != there.enabled),
        ("created_at", same_begin == Some(false)),
    ];
    let differ: Vec<_> =
        members.into_iter().filter(|(_, differs)| *differs).map(|(member, _)| member).collect();
    if differ.is_empty() {
        return Verdict::Known { renewed };
    }
    Verdict::Conflict(format!("{}: id:{} has it otherwise", differ.join(", "), there.user.id))
}
