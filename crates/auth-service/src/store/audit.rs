//! The audit log: what happened to accounts, sessions and keys.
//!
//! Triggers of the database tell most of it, in the same commit as the change. What changes nothing
//! there is told by [`Store::tell`].

use std::borrow::Cow;
use std::sync::Arc;

use claims::{SessionId, Timestamp, UserId};
use hosting::causes;

use super::postgres::Lane;
use super::records::{Caller, Requester};
use super::rows::{Columns as _, Row, is_caller};
use super::sessions::caller_values;
use super::{Store, StoreError};

use crate::store::EventView;

/// What the database cannot notice by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditEvent {
    /// Somebody did not know the password, or the account is disabled.
    LoginFailed,
    /// Somebody was told to come back later.
    Limited,
    /// The current token or its parent came again within the window, from elsewhere.
    RefreshReplayed,
    /// The database had forgotten a rotation, and was brought forward.
    RotationRestored,
    /// The clock that judges was stepped.
    ClockStepped,
    /// An older state of the database was restored, and everything of before was ended.
    EndedAfterRestore,
}

impl AuditEvent {
    /// The name in the audit log and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoginFailed => "login-failed",
            Self::Limited => "limited",
            Self::RefreshReplayed => "refresh-replayed",
            Self::RotationRestored => "rotation-restored",
            Self::ClockStepped => "clock-stepped",
            Self::EndedAfterRestore => "ended-after-restore",
        }
    }
}

/// An entry to be added to the audit log.
#[derive(Debug)]
pub struct AuditEntry {
    pub kind: AuditEvent,
    pub user: Option<UserId>,
    pub session: Option<SessionId>,
    /// Which limit; by how much the clock was stepped; how much was ended after a restore.
    pub reason: Option<Cow<'static, str>>,
    pub requester: Requester,
    /// Who had the token before.
    pub other: Requester,
    /// A pseudonym of the name that was tried.
    pub subject: Option<String>,
    /// A pseudonym of the network that it came from.
    pub origin: Option<String>,
}

impl AuditEntry {
    /// One that tells of nothing but `kind`.
    #[must_use]
    pub fn new(kind: AuditEvent) -> Self {
        Self {
            kind,
            user: None,
            session: None,
            reason: None,
            requester: Requester::default(),
            other: Requester::default(),
            subject: None,
            origin: None,
        }
    }
}

impl Store {
    /// Adds to the audit log.
    pub async fn record(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let sql = "insert into events (at, kind, user_id, session_id, reason, ip, user_agent, \
                other_ip, other_user_agent, subject, origin) \
             values ({now}, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let values = vec![
            entry.kind.as_str().into(),
            entry.user.into(),
            entry.session.into(),
            entry.reason.map(Cow::into_owned).into(),
            entry.requester.ip.into(),
            entry.requester.user_agent.into(),
            entry.other.ip.into(),
            entry.other.user_agent.into(),
            entry.subject.into(),
            entry.origin.into(),
        ];
        self.write("record", Lane::Main, (), sql, values).await?;
        Ok(())
    }

    /// The same without waiting for it, where the answer must not wait. In a flood some is left out: the
    /// audit log must not hold up what it tells of.
    pub fn record_later(&self, entry: AuditEntry) {
        let Ok(place) = Arc::clone(&self.telling).try_acquire_owned() else {
            metrics::counter!("latchkey_trail_gaps_total").increment(1);
            return;
        };
        let store = self.clone();
        let telling = async move {
            let _place = place;
            if let Err(error) = store.record(entry).await {
                metrics::counter!("latchkey_trail_gaps_total").increment(1);
                tracing::debug!(error = causes(&error), "the audit log has a gap");
            }
        };
        self.tasks.spawn_on(telling, &self.runtime);
    }

    /// What happened to the account of the caller's user, newest first: at most 80, and at most
    /// 20 failed logins, which are what others do and must not push the rest out; `None` when the
    /// caller's session is over.
    pub async fn events_of(&self, caller: Caller) -> Result<Option<Vec<EventView>>, StoreError> {
        let sql = concat!(
            "with clock as materialized (select {now} as now), caller as materialized ( \
                select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select e.at, e.kind, e.session_id, e.reason, e.ip, e.user_agent, e.other_ip, \
                e.other_user_agent, \
                cast(case when e.actor is null then 0 else 1 end as bigint) as by_administrator \
             from caller left join ( \
                select * from (select * from events \
                    where user_id = (select id from caller) and kind <> 'login-failed' \
                    order by id desc limit 80) most \
                union all \
                select * from (select * from events \
                    where user_id = (select id from caller) and kind = 'login-failed' \
                    order by id desc limit 20) failed \
             ) e on 1 = 1 order by e.id desc"
        );
        let found = self.read("events_of", Lane::Main, sql, caller_values(&caller)).await?;
        Ok(events(&found)?)
    }

    /// Deletes what happened `before` that moment or more than `most` entries back, at most `batch` of
    /// it, oldest first. Says how much that was.
    pub async fn purge_events(
        &self,
        before: Timestamp,
        most: i64,
        batch: i64,
    ) -> Result<u64, StoreError> {
        let sql = "delete from events where id in (select id from events order by id limit $3) \
             and (at < $1 or id <= (select max(id) from events) - $2)";
        let values = vec![before.into(), most.into(), batch.into()];
        self.write("purge_events", Lane::Main, (), sql, values).await
    }

    /// When the clock was last found to have been stepped, and by how much: `+7200 s`.
    pub async fn last_clock_step(&self) -> Result<Option<(Timestamp, String)>, StoreError> {
        let sql = "select at, coalesce(reason, '') as reason from events \
             where kind = 'clock-stepped' order by id desc limit 1";
        let found = self.read("last_clock_step", Lane::Main, sql, Vec::new()).await?;
        let told = |row: &Row| Ok::<_, sqlx::Error>((row.time("at")?, row.text("reason")?));
        Ok(found.first().map(told).transpose()?)
    }
}

/// From rows to what the owner sees. The first row is there also where nothing happened yet.
fn events(found: &[Row]) -> Result<Option<Vec<EventView>>, sqlx::Error> {
    if found.is_empty() {
        return Ok(None);
    }
    let mut events = Vec::new();
    for row in found {
        let Some(at) = row.int_or_null("at")? else { continue };
        events.push(EventView {
            at: Timestamp(at),
            kind: row.text("kind")?,
            session_id: row.text_or_null("session_id")?.and_then(|id| id.parse().ok()),
            reason: row.text_or_null("reason")?,
            ip: row.text_or_null("ip")?,
            user_agent: row.text_or_null("user_agent")?,
            other_ip: row.text_or_null("other_ip")?,
            other_user_agent: row.text_or_null("other_user_agent")?,
            by_administrator: row.flag("by_administrator")?,
        });
    }
    Ok(Some(events))
}
