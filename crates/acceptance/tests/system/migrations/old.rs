//! Migrations from before there was a form for reasons. They are out, and what is out is never changed: the
//! reasons are here. A later migration has its own in it.

/// The last of them.
pub(super) const LAST: i64 = 11;

/// A statement that does more than add, in a migration that programs of before may serve.
pub(super) struct Contract {
    number: i64,
    kind: &'static str,
    /// What it begins with.
    pub(super) beginning: &'static str,
    pub(super) reason: &'static str,
}

impl Contract {
    pub(super) fn is_of(&self, number: i64, kind: &str) -> bool {
        self.number == number && self.kind == kind
    }
}

/// Those that no program of before may serve, and why.
pub(super) const INCOMPATIBLE: [(i64, &str); 4] = [
    (1, "it is the first, and there is no program from before it"),
    (2, "keys get states, and a column that programs of before read is gone"),
    (3, "programs from before migration 4 refuse every schema that they do not know"),
    (4, "programs from before it do not know the table in which a migration says otherwise"),
];

const fn contract(
    number: i64,
    kind: &'static str,
    beginning: &'static str,
    reason: &'static str,
) -> Contract {
    Contract { number, kind, beginning, reason }
}

pub(super) const CONTRACTS: &[Contract] = &[
    contract(
        5,
        "postgres",
        "create trigger sessions_not_truncated",
        "no program truncates a table: it refuses people with psql",
    ),
    contract(
        6,
        "postgres",
        "create trigger users_version_kept",
        "no program lowers a version, and those that disable a user raise it themselves",
    ),
    contract(
        6,
        "postgres",
        "create trigger users_not_truncated",
        "no program truncates a table: it refuses people with psql",
    ),
    contract(
        6,
        "postgres",
        "create trigger keys_stay_revoked",
        "no program gives a revoked key another state",
    ),
    contract(
        6,
        "postgres",
        "create trigger keys_not_truncated",
        "no program truncates a table: it refuses people with psql",
    ),
    contract(
        7,
        "postgres",
        "do ",
        "it makes an index, which is not unique, unless the program has built it already",
    ),
    contract(
        9,
        "postgres",
        "do ",
        "it gives functions a search_path: they do the same, now in every session",
    ),
    contract(
        6,
        "sqlite",
        "create trigger users_version_kept",
        "no program lowers a version: it refuses people with a shell of SQLite",
    ),
    contract(
        6,
        "sqlite",
        "create trigger users_version_raised",
        "programs that disable a user raise the version themselves, and then it does nothing",
    ),
    contract(
        6,
        "sqlite",
        "create trigger keys_stay_revoked",
        "no program gives a revoked key another state",
    ),
    contract(
        9,
        "sqlite",
        "create trigger users_not_replaced",
        "no program inserts a user under an id that is taken",
    ),
    contract(
        9,
        "sqlite",
        "create trigger sessions_not_replaced",
        "no program inserts a session under an id that is taken",
    ),
];
