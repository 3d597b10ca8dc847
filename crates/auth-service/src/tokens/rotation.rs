//! Keys that change by themselves: the next one is published long before it is used, and the last one
//! is kept until every token it made is dead, so that nobody meets a key unprepared.
//!
//! The database moves keys from state to state and admits one key of each; so replicas may all act,
//! and all see the same.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::time::REVOCATION_TTL_SECONDS;
use claims::{Algorithm, KeyId, Timestamp};
use hosting::outage::Outage;
use verifier::Verifier;

use crate::background::clock_watch::ClockWatch;
use crate::background::supervisor::Supervisor;
use crate::config::Config;
use crate::identity::random;
use crate::revocation::Feed;
use crate::store::{KeyPurpose, KeyRead, KeyState, NewKey, Store, StoreError, StoredKey};
use crate::tokens::keyring::{self, Keyring, KeyringError, place};
use crate::tokens::seal::MasterKeys;
use crate::tokens::signing_key::SigningKey;

const RELOAD_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// How soon it is tried again where the keys could not be read: there may be a change to learn.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The least time between two reads because somebody asks for one, however often they do.
const READ_AT_MOST_EVERY: Duration = Duration::from_millis(50);
const DAY_MS: i64 = 24 * 3600 * 1000;
/// A replica that has not heard yet that its key retires goes on signing with it, but not for as long
/// as this.
const SLACK_MS: i64 = 120_000;

/// When keys come and go.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// What the next signing key is for.
    algorithm: Algorithm,
    /// How long a key is published before it is used.
    lead_ms: i64,
    /// How long it is used; `None`: until somebody says otherwise.
    rotate_ms: Option<i64>,
    /// How long a refresh token may lie unused.
    idle: Duration,
}

impl Schedule {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let days = i64::from(config.keys.rotate_days);
        Self {
            algorithm: config.keys.algorithm,
            lead_ms: i64::from(config.keys.publish_seconds) * 1000,
            rotate_ms: (days > 0).then_some(days * DAY_MS),
            idle: config.tokens.session_limits().idle,
        }
    }

    /// How long a key still checks after it made its last token.
    fn keep_ms(self, purpose: KeyPurpose) -> i64 {
        match purpose {
            KeyPurpose::Sign => REVOCATION_TTL_SECONDS.cast_signed() * 1000 + SLACK_MS,
            KeyPurpose::Refresh => {
                let idle = i64::try_from(self.idle.as_millis());
                idle.expect("the settings were checked at the start") + SLACK_MS
            }
        }
    }

    fn reload_every(self) -> Duration {
        let lead = Duration::from_millis(self.lead_ms.unsigned_abs());
        (lead / 8).clamp(Duration::from_millis(100), RELOAD_AT_LEAST_EVERY)
    }

    /// Whether the next key of this purpose should be published now. Only where the clock is `trusted`
    /// does the age of the present one count.
    fn next_is_due(self, read: &KeyRead, purpose: KeyPurpose, trusted: bool) -> bool {
        let Some(active) = read.one(purpose, KeyState::Active) else { return false };
        if read.one(purpose, KeyState::Published).is_some() {
            return false;
        }
        let old = self
            .rotate_ms
            .is_some_and(|rotate| active.since.0 + rotate - self.lead_ms <= read.now.0);
        (old && trusted)
            || (purpose == KeyPurpose::Sign && active.algorithm != Some(self.algorithm))
    }

    /// Shows in how many seconds each key that makes tokens is replaced. Where nothing but a person replaces
    /// keys, there is nothing to show.
    #[expect(clippy::cast_precision_loss, reason = "a gauge; no time is 2^52 milliseconds long")]
    fn show(self, read: &KeyRead) {
        let Some(rotate_ms) = self.rotate_ms else { return };
        for purpose in [KeyPurpose::Sign, KeyPurpose::Refresh] {
            let Some(active) = read.one(purpose, KeyState::Active) else { continue };
            let left_ms = active.since.0 + rotate_ms - read.now.0;
            metrics::gauge!("latchkey_key_replacement_due_seconds", "purpose" => purpose.as_str())
                .set(left_ms as f64 / 1000.0);
        }
    }

    /// Moves everything on as far as it is due, and says what there is then. Where `watch` does not
    /// trust the clock, that is only what does not depend on the time.
    async fn step(
        self,
        store: &Store,
        masters: &MasterKeys,
        watch: &ClockWatch,
    ) -> Result<KeyRead, StoreError> {
        let mut read = store.keys().await?;
        watch.observe(read.now, store);
        let trusted = watch.trusted_time().is_some();
        let mut added = false;
        for purpose in [KeyPurpose::Sign, KeyPurpose::Refresh] {
            let state = if read.one(purpose, KeyState::Active).is_none() {
                KeyState::Active
            } else if self.next_is_due(&read, purpose, trusted) {
                KeyState::Published
            } else {
                continue;
            };
            store.add_key(new_key(masters, purpose, self.algorithm), state).await?;
            added = true;
        }
        for purpose in [KeyPurpose::Sign, KeyPurpose::Refresh] {
            added |= trusted
                && self.is_due(&read, purpose)
                && store.advance_keys(purpose, self.lead_ms, self.keep_ms(purpose)).await?;
        }
        if added {
            read = store.keys().await?;
        }
        self.show(&read);
        Ok(read)
    }

    /// Until when a token of a revoked refresh key still logs its owner out; `None` for every other key.
    #[must_use]
    pub fn logs_out_until(self, key: &StoredKey) -> Option<Timestamp> {
        let kept = key.purpose == KeyPurpose::Refresh
            && key.state == KeyState::Revoked
            && !key.sealed.is_empty();
        kept.then(|| Timestamp(key.since.0 + self.keep_ms(key.purpose)))
    }

    /// Lets the published key take over without waiting.
    pub async fn take_over_now(
        self,
        store: &Store,
        purpose: KeyPurpose,
    ) -> Result<bool, StoreError> {
        store.advance_keys(purpose, 0, self.keep_ms(purpose)).await
    }

    /// Whether a key of this purpose is to enter its next state, or its secret is to be wiped; asked
    /// first, so that a look at the keys is all that there is on most days.
    fn is_due(self, read: &KeyRead, purpose: KeyPurpose) -> bool {
        read.keys.iter().filter(|key| key.purpose == purpose).any(|key| match key.state {
            KeyState::Published => key.since.0 + self.lead_ms <= read.now.0,
            KeyState::Retiring => key.since.0 + self.keep_ms(purpose) <= read.now.0,
            KeyState::Revoked => {
                !key.sealed.is_empty() && key.since.0 + self.keep_ms(purpose) <= read.now.0
            }
            _ => false,
        })
    }
}

/// A new key, sealed.
///
/// # Panics
/// When the operating system gives no randomness.
#[must_use]
pub fn new_key(masters: &MasterKeys, purpose: KeyPurpose, algorithm: Algorithm) -> NewKey {
    match purpose {
        KeyPurpose::Sign => {
            let (key, secret) = SigningKey::generate(algorithm);
            let id = key.jwk().kid.clone();
            let sealed = masters.seal(&place(&id), &secret);
            NewKey { id, algorithm: Some(algorithm), sealed }
        }
        KeyPurpose::Refresh => {
            let id = format!("refresh-{}", URL_SAFE_NO_PAD.encode(random::bytes::<9>()));
            let id: KeyId = id.parse().expect("base64url is a key id");
            let sealed = masters.seal(&place(&id), &random::bytes::<32>());
            NewKey { id, algorithm: None, sealed }
        }
    }
}

/// Keeps the keys of a running service as the database has them.
pub(crate) struct KeyRotation {
    pub(crate) store: Store,
    pub(crate) masters: MasterKeys,
    pub(crate) config: Config,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) watch: Arc<ClockWatch>,
}

impl KeyRotation {
    /// Opens the keys, and goes on following the database.
    pub(crate) async fn start(
        self,
        supervisor: &mut Supervisor,
    ) -> Result<Arc<Keyring>, KeyringError> {
        let (known, ring) = self.begin().await?;
        let (rotation, ring) = (Arc::new(self), Arc::new(ring));
        let kept = Arc::clone(&ring);
        supervisor.keep_vital("keys", move || {
            Arc::clone(&rotation).follow(Arc::clone(&kept), known.clone())
        });
        Ok(ring)
    }

    /// The keys to begin with; a database that has none gets them. Replicas that start together end
    /// up with the same ones.
    async fn begin(&self) -> Result<(KeyRead, Keyring), KeyringError> {
        let schedule = Schedule::new(&self.config);
        let begun = self.verifier.clock().elapsed();
        let read = schedule.step(&self.store, &self.masters, &self.watch).await?;
        let keys = keyring::open(&read.keys, &self.masters, &self.config)?;
        self.verifier.keys().replace(keys.set.clone());
        Ok((read, Keyring::new(keys, begun)))
    }

    /// Follows the database until the task is aborted.
    async fn follow(self: Arc<Self>, ring: Arc<Keyring>, mut known: KeyRead) {
        let schedule = Schedule::new(&self.config);
        let mut outage = Outage::new(
            "keys",
            "the keys cannot be read; those at hand stay in use",
            "the keys are read again",
        );
        loop {
            let every = schedule.reload_every();
            let pause = if outage.is_on() { every.min(TRY_AGAIN_AFTER) } else { every };
            let asked = async {
                tokio::time::sleep(READ_AT_MOST_EVERY).await;
                ring.wanted().await;
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.feed.keys_changed() => {}
                () = asked => {}
            }
            let begun = self.verifier.clock().elapsed();
            let reloaded = self.reload(schedule, &ring, &mut known).await;
            ring.looked(begun, reloaded.is_ok());
            match reloaded {
                Ok(()) => outage.works(),
                Err(error) => {
                    metrics::counter!("latchkey_keyring_failures_total").increment(1);
                    outage.failed(&error);
                }
            }
        }
    }

    async fn reload(
        &self,
        schedule: Schedule,
        ring: &Keyring,
        known: &mut KeyRead,
    ) -> Result<(), KeyringError> {
        let read = schedule.step(&self.store, &self.masters, &self.watch).await?;
        if read.keys == known.keys {
            return Ok(());
        }
        let keys = keyring::open(&read.keys, &self.masters, &self.config)?;
        // Those that check, before those that make.
        self.verifier.keys().replace(keys.set.clone());
        ring.replace(keys);
        for key in read.keys.iter().filter(|key| !known.keys.contains(key)) {
            tracing::info!(
                event.name = %format_args!("key-{}", key.state.as_str()),
                key.id = %key.id, purpose = key.purpose.as_str(), state = key.state.as_str(),
                "a key is {}", key.state.as_str()
            );
        }
        *known = read;
        Ok(())
    }
}
