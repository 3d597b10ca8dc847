//! The audit log: what happened to accounts, sessions and keys.
//!
//! Triggers of the database tell most of it, in the same commit as the change. What changes nothing
//! there is told by [`Store::record`].

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

    /// What another entry has in common with this one that is counted with it: the kind, the account, and the
    /// session, or the name and the network. `None` where there is nothing that it could come again from.
    fn repeat_of(&self) -> Option<String> {
        let Self { kind, user, session, reason, subject, origin, .. } = self;
        let whose = session.map(|session| session.to_string()).or_else(|| subject.clone())?;
        let user = user.map(|user| user.to_string()).unwrap_or_default();
        let (origin, reason) = (origin.as_deref(), reason.as_deref());
        let kind = kind.as_str();
        Some(
            [kind, &user, &whose, origin.unwrap_or_default(), reason.unwrap_or_default()].join(" "),
        )
    }
}

/// What there is too much of in the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurplusEvents {
    pub kind: String,
    /// The newest entry that is too much. Several replicas may delete up to there.
    pub up_to: i64,
}

/// How many entries each kind may have, so that all together have `most`: those that have fewer leave the rest to
/// the others.
fn fair_share(mut numbers: Vec<i64>, most: i64) -> i64 {
    numbers.sort_unstable();
    let (mut left, mut kinds) = (most, i64::try_from(numbers.len()).unwrap_or(i64::MAX));
    for number in numbers {
        let share = left / kinds;
        if number > share {
            return share;
        }
        left -= number;
        kinds -= 1;
    }
    i64::MAX
}

impl Store {
    /// Adds to the audit log. Where the same was told within the ten minutes of this one, that entry counts it: of
    /// any number of them, at any number of replicas, one row is left.
    pub async fn record(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let sql = "insert into events (at, kind, user_id, session_id, reason, ip, user_agent, \
                other_ip, other_user_agent, subject, origin, repeat_of) \
             values ({now}, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
                cast($11 as text) || ' ' || cast({now} / 600000 as text)) \
             on conflict (repeat_of) where repeat_of is not null \
             do update set times = events.times + 1, last_at = case \
                when events.last_at > excluded.at then events.last_at else excluded.at end";
        let repeat_of = entry.repeat_of();
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
            repeat_of.into(),
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

    /// What happened to the account of the caller's user, newest first: of each kind the last ones, so that none
    /// pushes another out. `None` when the caller's session is over.
    ///
    /// Some kinds come in any number, each found by an index or at most among the visits. Of the others the last
    /// thousand are looked at.
    pub async fn events_of(&self, caller: Caller) -> Result<Option<Vec<EventView>>, StoreError> {
        // Said as the indexes say it.
        macro_rules! latest {
            ($kind:literal, $most:literal) => {
                concat!(
                    " union all select * from (select *, 1 as nth from events \
                        where user_id = (select id from caller) and ",
                    $kind,
                    " order by id desc limit ",
                    $most,
                    ") of_kind"
                )
            };
        }
        let sql = concat!(
            "with clock as materialized (select {now} as now), caller as materialized ( \
                select u.id from sessions s, users u, clock where ",
            is_caller!(),
            ") select e.at, e.kind, e.session_id, e.reason, e.ip, e.user_agent, e.other_ip, \
                e.other_user_agent, e.times, e.last_at, \
                cast(case when e.actor is null then 0 else 1 end as bigint) as by_administrator \
             from caller left join ( \
                select * from (select *, row_number() over (partition by kind order by id desc) as nth \
                    from (select * from events where user_id = (select id from caller) \
                        and kind not in ('login', 'session-ended', 'login-failed', 'refresh-replayed') \
                        order by id desc limit 1000) recent) changes where nth <= 20",
            latest!("kind <> 'login-failed' and kind = 'login'", "40"),
            latest!("kind <> 'login-failed' and kind = 'session-ended'", "40"),
            latest!("kind = 'refresh-replayed'", "20"),
            latest!("kind = 'login-failed'", "20"),
            ") e on 1 = 1 order by e.id desc"
        );
        let found = self.read("events_of", Lane::Main, sql, caller_values(&caller)).await?;
        Ok(events(&found)?)
    }

    /// Deletes what happened `before` that moment, at most `batch` of it, oldest first. Says how much that was.
    pub async fn purge_events(&self, before: Timestamp, batch: i64) -> Result<u64, StoreError> {
        let sql = "delete from events where id in (select id from events order by id limit $2) \
             and at < $1";
        let values = vec![before.into(), batch.into()];
        self.write("purge_events", Lane::Main, (), sql, values).await
    }

    /// What has to go so that `most` entries are left: of the kinds that have the most, so that none pushes out
    /// another.
    pub async fn surplus_events(&self, most: i64) -> Result<Vec<SurplusEvents>, StoreError> {
        // Both ends of an index: in general there is nothing to count.
        let span = "select coalesce(max(id) - min(id) + 1, 0) as span from events";
        let found = self.read("surplus_events", Lane::Main, span, Vec::new()).await?;
        if found.first().map(|row| row.int("span")).transpose()?.is_none_or(|span| span <= most) {
            return Ok(Vec::new());
        }
        let sql = "select kind, count(*) as number from events group by kind";
        let found = self.read("surplus_events", Lane::Main, sql, Vec::new()).await?;
        let counted = |row: &Row| Ok::<_, sqlx::Error>((row.text("kind")?, row.int("number")?));
        let counted: Vec<_> = found.iter().map(counted).collect::<Result<_, _>>()?;
        let share = fair_share(counted.iter().map(|(_, number)| *number).collect(), most);
        let mut surplus = Vec::new();
        for (kind, _) in counted.into_iter().filter(|(_, number)| *number > share) {
            let sql = "select id from events where kind = $1 order by id desc limit 1 offset $2";
            let values = vec![kind.as_str().into(), share.into()];
            let found = self.read("surplus_events", Lane::Main, sql, values).await?;
            if let Some(row) = found.first() {
                surplus.push(SurplusEvents { kind, up_to: row.int("id")? });
            }
        }
        Ok(surplus)
    }

    /// Deletes at most `batch` of what is too much, oldest first, and says how much that was. What happened within a
    /// day stays, except what anybody can write in any number.
    pub async fn trim_events(
        &self,
        surplus: &SurplusEvents,
        batch: i64,
    ) -> Result<u64, StoreError> {
        let sql = "delete from events where id in ( \
             select id from events where kind = $1 and id <= $2 \
                and (at <= {now} - 86400000 or kind in ('login-failed', 'limited', 'refresh-replayed')) \
             order by id limit $3)";
        let values = vec![surplus.kind.as_str().into(), surplus.up_to.into(), batch.into()];
        self.write("trim_events", Lane::Main, (), sql, values).await
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
            times: row.int("times")?,
            last_at: row.time_or_null("last_at")?,
            by_administrator: row.flag("by_administrator")?,
        });
    }
    Ok(Some(events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_has_few_keeps_them_and_the_others_share_the_rest() {
        assert_eq!(fair_share(vec![3, 1_000_000, 10], 100), 87);
        assert_eq!(fair_share(vec![500, 3, 500], 103), 50);
        assert_eq!(fair_share(vec![3, 4], 7), i64::MAX);
        assert_eq!(fair_share(vec![9, 9, 9], 2), 0);
        assert_eq!(fair_share(Vec::new(), 1), i64::MAX);
    }
}
