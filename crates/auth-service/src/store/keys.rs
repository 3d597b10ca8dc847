//! Keys as stored: sealed, each in a state, and moved from one to the next under a lock of the
//! database, so that replicas that act at once end up with the same keys.

mod publishing;

use claims::{Algorithm, KeyId, Timestamp};
use futures_util::FutureExt as _;

use super::postgres::Lane;
use super::rows::{Columns as _, Row};
use super::statement::Value;
use super::transaction::Tx;
use super::{Store, StoreError};
use publishing::{DAY, are_too_many, published};

pub use publishing::Publication;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPurpose {
    Sign,
    Refresh,
}

impl KeyPurpose {
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
    pub sealed: Vec<u8>,
}

impl NewKey {
    /// What it is for.
    #[must_use]
    pub const fn purpose(&self) -> KeyPurpose {
        if self.algorithm.is_some() { KeyPurpose::Sign } else { KeyPurpose::Refresh }
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
    pub purpose: KeyPurpose,
    /// The algorithm of a signing key; `None` for a refresh key.
    pub algorithm: Option<Algorithm>,
    /// How far it has got.
    pub state: KeyState,
    /// When it got there.
    pub since: Timestamp,
    /// The secret, sealed; empty once it is gone.
    pub sealed: Vec<u8>,
}

/// What became of a key that was to be revoked.
#[derive(Debug)]
pub enum KeyRevocation {
    /// It is revoked now.
    Now,
    /// It had been revoked before.
    Before,
    /// There is none of that id.
    Unknown,
    /// Nothing was done: another one would have to be made in its place, and so many were made within a day that
    /// administrators have no more made over HTTP.
    TooMany,
}

/// All keys, oldest first, as of one moment.
#[derive(Debug, Clone)]
pub struct KeyRead {
    pub keys: Vec<StoredKey>,
    pub now: Timestamp,
}

impl KeyRead {
    /// The key of this purpose in this state, of which there is at most one that is published and one
    /// that is active.
    #[must_use]
    pub fn one(&self, purpose: KeyPurpose, state: KeyState) -> Option<&StoredKey> {
        self.keys.iter().find(|key| key.purpose == purpose && key.state == state)
    }
}

impl Store {
    /// All keys, those that are gone included.
    pub async fn keys(&self) -> Result<KeyRead, StoreError> {
        let sql = "with clock as materialized (select {now} as now) \
             select clock.now, k.id, k.purpose, k.algorithm, k.state, k.state_since, k.sealed \
             from clock left join keys k on 1 = 1 order by k.created_at, k.id";
        let found = self.read("keys", Lane::Main, sql, Vec::new()).await?;
        let first = found.first().ok_or(sqlx::Error::RowNotFound)?;
        let mut read = KeyRead { keys: Vec::new(), now: first.time("now")? };
        for row in &found {
            // The one row of a database without keys has the time only.
            if row.text_or_null("id")?.is_some() {
                read.keys.push(key(row)?);
            }
        }
        Ok(read)
    }

    /// Adds a key as `active` or `published`, unless there is one of its purpose in that state.
    pub async fn add_key(&self, key: NewKey, state: KeyState) -> Result<(), StoreError> {
        self.transaction("add_key", Lane::Main, self.announcement(), move |tx| {
            async move { insert(tx, key, state).await }.boxed()
        })
        .await
    }

    /// Moves the keys of a purpose on: what was published `lead_ms` ago takes over, what retired
    /// `keep_ms` ago is removed, and what was revoked then is wiped. Says whether anything changed.
    /// Replicas may all ask at once: they wait for each other, and the second finds nothing to do.
    pub async fn advance_keys(
        &self,
        purpose: KeyPurpose,
        lead_ms: i64,
        keep_ms: i64,
    ) -> Result<bool, StoreError> {
        let due = "select 1 from keys where purpose = $1 and ( \
                state = 'published' and state_since + $2 <= {now} \
                or state = 'retiring' and state_since + $3 <= {now} \
                or state = 'revoked' and sealed <> $4 and state_since + $3 <= {now})";
        let nothing = Value::Bytes(Vec::new());
        let values = vec![purpose.as_str().into(), lead_ms.into(), keep_ms.into(), nothing];
        // Usually there is nothing to do, and nobody need wait for a lock to learn that.
        if self.read("advance_keys", Lane::Main, due, values).await?.is_empty() {
            return Ok(false);
        }
        self.transaction("advance_keys", Lane::Main, self.announcement(), move |tx| {
            async move {
                lock(tx, purpose).await?;
                let remove = "update keys set state = 'removed', state_since = {now}, sealed = $3 \
                     where purpose = $1 and state = 'retiring' and state_since + $2 <= {now}";
                let wipe = "update keys set sealed = $3 where purpose = $1 \
                        and state = 'revoked' and sealed <> $3 and state_since + $2 <= {now}";
                let values = [purpose.as_str().into(), keep_ms.into(), Value::Bytes(Vec::new())];
                let changed =
                    tx.execute(remove, &values).await? + tx.execute(wipe, &values).await?;
                let due = "select 1 from keys where purpose = $1 \
                        and state = 'published' and state_since + $2 <= {now}";
                let due = tx.fetch_all(due, &[purpose.as_str().into(), lead_ms.into()]).await?;
                let promotes = !due.is_empty();
                if promotes {
                    move_on(tx, purpose, KeyState::Active, KeyState::Retiring).await?;
                    move_on(tx, purpose, KeyState::Published, KeyState::Active).await?;
                }
                Ok(promotes || changed > 0)
            }
            .boxed()
        })
        .await
    }

    /// Revokes a key of this purpose for ever. Where it was the active one, the published one takes over at once, or
    /// else what `make` makes.
    ///
    /// For an administrator over HTTP it may be that no more are made. That never keeps a key that is older than a day
    /// from being revoked: whoever has learnt its secret had the time.
    pub async fn revoke_key(
        &self,
        id: KeyId,
        purpose: KeyPurpose,
        make: impl FnOnce() -> NewKey + Send + 'static,
    ) -> Result<KeyRevocation, StoreError> {
        let bounded = self.acting.is_some();
        self.transaction("revoke_key", Lane::Main, self.announcement(), move |tx| {
            async move {
                lock(tx, purpose).await?;
                let sql = "select state, \
                        cast(case when created_at > {now} - $2 then 1 else 0 end as bigint) as young \
                     from keys where id = $1";
                let found = tx.fetch_all(sql, &[id.as_str().into(), DAY.into()]).await?;
                let Some(row) = found.first() else { return Ok(KeyRevocation::Unknown) };
                let (state, young) = (row.text("state")?, row.flag("young")?);
                if state == KeyState::Revoked.as_str() {
                    return Ok(KeyRevocation::Before);
                }
                let is_active = state == KeyState::Active.as_str();
                let needs_another = is_active && published(tx, purpose).await?.is_none();
                if bounded && young && needs_another && are_too_many(tx, purpose).await? {
                    return Ok(KeyRevocation::TooMany);
                }
                // The secret of a refresh key stays: with it a token still names the session that its
                // owner wants to be out of.
                let sql = "update keys set state = 'revoked', state_since = {now}, \
                        sealed = case when purpose = 'refresh' then sealed else $2 end \
                     where id = $1";
                tx.execute(sql, &[id.as_str().into(), Value::Bytes(Vec::new())]).await?;
                if is_active
                    && move_on(tx, purpose, KeyState::Published, KeyState::Active).await? == 0
                {
                    insert(tx, make(), KeyState::Active).await?;
                }
                Ok(KeyRevocation::Now)
            }
            .boxed()
        })
        .await
    }

    /// Replaces the sealed form of a key, if it is still `old`; the secret in it stays the same.
    pub async fn reseal_key(
        &self,
        id: KeyId,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let sql = "update keys set sealed = $3 where id = $1 and sealed = $2";
        let values = vec![id.as_str().into(), old.into(), new.into()];
        Ok(self.write("reseal_key", Lane::Main, (), sql, values).await? > 0)
    }
}

/// One after the other: of those who wait for the rows, each would know only those that were there when it began to
/// wait, and lock a newer one in another order than the next. The rows are for programs of before.
async fn lock(tx: &mut Tx, purpose: KeyPurpose) -> Result<(), StoreError> {
    if tx.is_postgres() {
        let sql = "select 1 as locked from pg_advisory_xact_lock(hashtextextended($1, 1))";
        tx.fetch_all(sql, &[format!("latchkey keys {}", purpose.as_str()).into()]).await?;
    }
    let sql = "select k.id from keys k where k.purpose = $1 order by k.id {lock}";
    tx.fetch_all(sql, &[purpose.as_str().into()]).await?;
    Ok(())
}

/// How many keys of the purpose went from one state to the other.
async fn move_on(
    tx: &mut Tx,
    purpose: KeyPurpose,
    from: KeyState,
    to: KeyState,
) -> Result<u64, StoreError> {
    let sql = "update keys set state = $3, state_since = {now} where purpose = $1 and state = $2";
    let values = [purpose.as_str().into(), from.as_str().into(), to.as_str().into()];
    Ok(tx.execute(sql, &values).await?)
}

async fn insert(tx: &mut Tx, key: NewKey, state: KeyState) -> Result<(), StoreError> {
    let sql = "insert into keys (id, purpose, algorithm, state, sealed, created_at, state_since) \
         values ($1, $2, $3, $4, $5, {now}, {now}) on conflict do nothing";
    tx.execute(
        sql,
        &[
            key.id.as_str().into(),
            key.purpose().as_str().into(),
            key.algorithm_name().into(),
            state.as_str().into(),
            key.sealed.into(),
        ],
    )
    .await?;
    Ok(())
}

/// From a row to a record.
fn key(row: &Row) -> Result<StoredKey, sqlx::Error> {
    let signs = row.text("purpose")? == KeyPurpose::Sign.as_str();
    let algorithm = Algorithm::from_name(&row.text("algorithm")?);
    Ok(StoredKey {
        id: row.parsed("id")?,
        purpose: if signs { KeyPurpose::Sign } else { KeyPurpose::Refresh },
        algorithm: if signs { algorithm } else { None },
        state: KeyState::from_name(&row.text("state")?),
        since: row.time("state_since")?,
        sealed: row.bytes("sealed")?,
    })
}
