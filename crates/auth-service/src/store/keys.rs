//! Keys as stored: sealed, each in a state, and moved from one to the next by the database, so that
//! replicas that act at once end up with the same keys.

use claims::{Algorithm, KeyId, Timestamp};

use super::rows::Columns;
use super::{Backend, Store, StoreError, bounded};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Signs access tokens.
    Sign,
    /// Authenticates refresh tokens.
    Refresh,
}

impl Purpose {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Refresh => "refresh",
        }
    }
}

/// How far a key has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It checks everywhere, so that nobody meets it unprepared when it takes over.
    Published,
    /// It makes tokens.
    Active,
    /// It checks until the last token it made is dead.
    Retiring,
    /// It is gone, and its secret with it.
    Removed,
    /// It was revoked: what it made is refused for ever. The secret of a refresh key is kept until its
    /// last token is dead, for logging out only.
    Revoked,
}

impl KeyState {
    const ALL: [Self; 5] =
        [Self::Published, Self::Active, Self::Retiring, Self::Removed, Self::Revoked];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Removed => "removed",
            Self::Revoked => "revoked",
        }
    }

    /// Whether tokens are checked with a key in this state.
    #[must_use]
    pub const fn checks(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Retiring)
    }

    /// A state that this program does not know is one in which the key is not used.
    fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == name).unwrap_or(Self::Removed)
    }
}

/// A key to be stored.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its id, the `kid` of a signing key.
    pub id: KeyId,
    /// The algorithm of a signing key; `None` for a refresh key.
    pub algorithm: Option<Algorithm>,
    /// The secret, sealed.
    pub sealed: Vec<u8>,
}

impl NewKey {
    /// What it is for.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        if self.algorithm.is_some() { Purpose::Sign } else { Purpose::Refresh }
    }

    /// The algorithm's name in the database.
    #[must_use]
    pub fn algorithm_name(&self) -> &'static str {
        self.algorithm.map_or("HS256", Algorithm::as_str)
    }
}

/// A key as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id, the `kid` of a signing key.
    pub id: KeyId,
    /// What it is for.
    pub purpose: Purpose,
    /// The algorithm of a signing key; `None` for a refresh key.
    pub algorithm: Option<Algorithm>,
    /// How far it has got.
    pub state: KeyState,
    /// When it got there.
    pub since: Timestamp,
    /// The secret, sealed; empty once it is gone.
    pub sealed: Vec<u8>,
}

/// All keys, oldest first, as of one moment.
#[derive(Debug, Clone)]
pub struct KeyRead {
    /// The keys.
    pub keys: Vec<StoredKey>,
    /// The database's clock.
    pub now: Timestamp,
}

impl KeyRead {
    /// The key of this purpose in this state, of which there is at most one that is published and one
    /// that is active.
    #[must_use]
    pub fn one(&self, purpose: Purpose, state: KeyState) -> Option<&StoredKey> {
        self.keys.iter().find(|key| key.purpose == purpose && key.state == state)
    }
}

impl Store {
    /// All keys, those that are gone included.
    pub async fn keys(&self) -> Result<KeyRead, StoreError> {
        on_backend!(self, db => db.keys().await)
    }

    /// Adds a key as `active` or `published`, unless there is one of its purpose in that state.
    pub async fn add_key(&self, key: NewKey, state: KeyState) -> Result<(), StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _announcement = announcement;
            db.add_key(&key, state).await
        })
    }

    /// Moves the keys of a purpose on: what was published `lead_ms` ago takes over, what retired
    /// `keep_ms` ago is removed, and what was revoked then is wiped. Says whether anything changed.
    pub async fn advance_keys(
        &self,
        purpose: Purpose,
        lead_ms: i64,
        keep_ms: i64,
    ) -> Result<bool, StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let advanced = db.advance_keys(purpose, lead_ms, keep_ms).await;
            if matches!(advanced, Ok(false)) {
                announcement.withdraw();
            }
            advanced
        })
    }

    /// Revokes a key for ever; `false` when there is none. Where it was the active one, the published
    /// one takes over at once, or else `replacement`, which must be of the same purpose.
    pub async fn revoke_key(&self, id: KeyId, replacement: NewKey) -> Result<bool, StoreError> {
        let announcement = self.announcement();
        on_backend!(self, db => {
            let _announcement = announcement;
            db.revoke_key(&id, &replacement).await
        })
    }

    /// Replaces the sealed form of a key, if it is still `old`; the secret in it stays the same.
    pub async fn reseal_key(
        &self,
        id: KeyId,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> Result<bool, StoreError> {
        on_backend!(self, db => db.reseal_key(&id, &old, &new).await)
    }
}

/// From a row to a record.
pub(super) fn key(row: &impl Columns) -> Result<StoredKey, sqlx::Error> {
    let signs = row.text("purpose")? == Purpose::Sign.as_str();
    let algorithm = Algorithm::from_name(&row.text("algorithm")?);
    Ok(StoredKey {
        id: row.parsed("id")?,
        purpose: if signs { Purpose::Sign } else { Purpose::Refresh },
        algorithm: if signs { algorithm } else { None },
        state: KeyState::from_name(&row.text("state")?),
        since: row.time("state_since")?,
        sealed: row.bytes("sealed")?,
    })
}
