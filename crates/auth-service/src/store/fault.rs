//! What an error of the database means to whoever meets it: whether it is over by itself, and what mends it.
//! What it means for the connection on which it happened is told by `watched`.

use sqlx::Error;

/// The database failed, or did not answer in time. What was asked for may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It reported an error, or cannot be reached.
    #[error("{}", of(.0).told)]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer in time")]
    Timeout,
    /// The row kept changing under every attempt.
    #[error("the session or the account is being changed too often at once")]
    Contended,
    /// Whoever acts has no session any more; nothing was changed.
    #[error("the administrator's session is over")]
    NotActing,
    /// The account has a role that allows more than whoever acts may; nothing was changed.
    #[error("the account may do more than the administrator")]
    OutOfReach,
}

impl StoreError {
    /// Whether waiting helps.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Database(error) => of(error).kind,
            _ => FaultKind::Passing,
        }
    }
}

/// Whether waiting helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It may be over in a moment.
    Passing,
    /// Nothing can be written until the address leads to a server that writes.
    ReadOnly,
    /// No connection can be used until somebody has mended it.
    Unfit,
    /// This statement is refused until somebody has mended it; others may work.
    Refused,
}

/// What an error means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// What is wrong and what to do, for whoever runs the service. The error itself is told beside it.
    pub(super) told: &'static str,
}

/// Found on a connection that was just made, in words of our own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct OnlyReads(pub(super) &'static str);

const AWAY: Fault = Fault { kind: FaultKind::Passing, told: "the database does not answer" };
const FAILED: Fault = Fault { kind: FaultKind::Passing, told: "the database failed" };
const READ_ONLY: Fault = Fault {
    kind: FaultKind::ReadOnly,
    told: "the database is read-only; the service goes on as soon as database.url leads to a server that writes",
};
const UNFIT: Fault =
    Fault { kind: FaultKind::Unfit, told: "the database cannot be used as it is set up" };

/// By the codes of Postgres (its manual's appendix A).
const OF_POSTGRES: [(&[&str], Fault); 7] = [
    (&["25006"], READ_ONLY),
    (
        &["28000", "28P01"],
        Fault {
            kind: FaultKind::Unfit,
            told: "the database does not let the user of database.url in; see to the user, the password and the \
                   server's pg_hba.conf",
        },
    ),
    (
        &["3D000"],
        Fault {
            kind: FaultKind::Unfit,
            told: "the server has no database of the name in database.url; see to the name, or create it",
        },
    ),
    (
        &["42501"],
        Fault {
            kind: FaultKind::Refused,
            told: "the user of database.url lacks a right in the database; grant what migrations/README.md lists",
        },
    ),
    (
        &["42P01", "42703", "42883"],
        Fault {
            kind: FaultKind::Refused,
            told: "the database lacks a part of the schema; run `auth-service migrate`, and see who took it away",
        },
    ),
    (
        &["22021", "22P05"],
        Fault {
            kind: FaultKind::Refused,
            told: "the database cannot hold a text that it was given; its encoding must be UTF8",
        },
    ),
    (
        &["53100", "53200", "53300"],
        Fault {
            kind: FaultKind::Passing,
            told: "the server of the database has no room left: on its disk, in its memory, or for connections",
        },
    ),
];

/// By the codes of SQLite, without what it adds to them in the upper bits.
const OF_SQLITE: [(i32, Fault); 2] = [
    (
        8,
        Fault {
            kind: FaultKind::ReadOnly,
            told: "the database is read-only; let the user of the service write the file and its directory",
        },
    ),
    (
        13,
        Fault {
            kind: FaultKind::Passing,
            told: "the disk of the database is full; make room on it",
        },
    ),
];

/// What the error means.
pub(super) fn of(error: &Error) -> Fault {
    match error {
        Error::Database(error) => by_code(&error.code().unwrap_or_default()),
        Error::Configuration(why) if why.is::<OnlyReads>() => READ_ONLY,
        Error::Configuration(_) => UNFIT,
        Error::RowNotFound
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::Encode(_)
        | Error::Protocol(_) => FAILED,
        _ => AWAY,
    }
}

fn by_code(code: &str) -> Fault {
    // Those of Postgres have five characters, those of SQLite up to four digits.
    let fault = if code.len() == 5 {
        OF_POSTGRES.iter().find(|(codes, _)| codes.contains(&code)).map(|(_, fault)| *fault)
    } else {
        let code = code.parse::<i32>().map_or(0, |code| code & 0xff);
        OF_SQLITE.iter().find(|(of, _)| *of == code).map(|(_, fault)| *fault)
    };
    fault.unwrap_or(match code.get(..2) {
        // Lost, out of resources, stopped by somebody, an error of the system.
        Some("08" | "53" | "57" | "58") if code.len() == 5 => AWAY,
        _ => FAILED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_until_somebody_mends_it_is_told_from_what_passes() {
        for (code, kind) in [
            ("25006", FaultKind::ReadOnly),
            // SQLITE_READONLY, and with SQLITE_READONLY_DIRECTORY.
            ("8", FaultKind::ReadOnly),
            ("1544", FaultKind::ReadOnly),
            ("28P01", FaultKind::Unfit),
            ("3D000", FaultKind::Unfit),
            ("42501", FaultKind::Refused),
            ("42P01", FaultKind::Refused),
            ("22021", FaultKind::Refused),
            ("22P05", FaultKind::Refused),
            // Starting, stopping, a lock that was not had, no connection left, a database that lets nobody in now.
            ("57P03", FaultKind::Passing),
            ("57P01", FaultKind::Passing),
            ("55P03", FaultKind::Passing),
            ("53300", FaultKind::Passing),
            ("55000", FaultKind::Passing),
            // SQLITE_FULL, SQLITE_BUSY, SQLITE_IOERR_WRITE.
            ("13", FaultKind::Passing),
            ("5", FaultKind::Passing),
            ("778", FaultKind::Passing),
            ("", FaultKind::Passing),
        ] {
            assert_eq!(by_code(code).kind, kind, "{code}");
        }
        for (error, kind) in [
            (Error::Configuration(Box::new(OnlyReads("a standby"))), FaultKind::ReadOnly),
            (Error::Configuration("synchronous_commit is off".into()), FaultKind::Unfit),
            (Error::PoolTimedOut, FaultKind::Passing),
            (Error::Io(std::io::ErrorKind::ConnectionRefused.into()), FaultKind::Passing),
        ] {
            assert_eq!(of(&error).kind, kind, "{error}");
        }
    }
}
