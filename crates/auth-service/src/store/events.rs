//! The audit log as administrators read it: all of it, the latest first, filtered, a page at a time.

use claims::{SessionId, Timestamp, UserId};

use super::postgres::Lane;
use super::rows::{Columns as _, Row};
use super::{Store, StoreError};

/// How many entries one page looks at. What is rare is found by asking for the next page, and no question
/// walks along a million entries.
const LOOKED_AT: i64 = 10_000;
/// By how much a clock that was stepped may have left the times of entries out of their order.
const OUT_OF_ORDER_MS: i64 = 24 * 3600 * 1000;

/// Which entries are asked for.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// What happened to this user's account.
    pub user: Option<UserId>,
    /// What happened, by its name.
    pub kind: Option<String>,
    /// Then, or later.
    pub since: Option<Timestamp>,
    /// Before that.
    pub until: Option<Timestamp>,
    /// Older than this entry: where the page before ended.
    pub before: Option<i64>,
}

/// An entry of the audit log.
#[derive(Debug, Clone)]
pub struct EventRecord {
    pub id: i64,
    pub at: Timestamp,
    pub kind: String,
    pub user: Option<UserId>,
    /// The administrator who had it done.
    pub actor: Option<UserId>,
    pub session: Option<SessionId>,
    pub reason: Option<String>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub other_ip: Option<String>,
    pub other_user_agent: Option<String>,
    /// Pseudonyms of a name that was tried and of the network it came from.
    pub subject: Option<String>,
    pub origin: Option<String>,
    /// How often, and when last if it came again.
    pub times: i64,
    pub last_at: Option<Timestamp>,
}

/// A page of the audit log.
#[derive(Debug, Clone)]
pub struct EventPage {
    pub events: Vec<EventRecord>,
    /// Where the next one goes on; `None` at the end.
    pub next: Option<i64>,
}

/// `$looked` are the entries that are looked at, at most `$2` before the entry `$1`. One row is there in any case:
/// it tells how many that were, the oldest of them, and the latest time.
macro_rules! page {
    ($looked:literal) => {
        concat!(
            "with looked as materialized (",
            $looked,
            ") select (select count(*) from looked) as looked, \
                (select min(id) from looked) as oldest, (select max(at) from looked) as latest, \
                e.id, e.at, e.kind, cast(e.user_id as text) as user_id, \
                cast(e.actor as text) as actor, e.session_id, e.reason, e.ip, e.user_agent, \
                e.other_ip, e.other_user_agent, e.subject, e.origin, e.times, e.last_at \
             from (select 1 as one) one left join ( \
                select * from looked \
                where ($3 is null or kind = $3) and ($4 is null or at >= $4) \
                  and ($5 is null or at < $5) order by id desc limit $6) e on 1 = 1 \
             order by e.id desc"
        )
    };
}

impl Store {
    /// The next `most` entries that `filter` asks for, the latest first. There may be fewer of them, or none,
    /// on a page that is not the last.
    pub async fn list_events(
        &self,
        filter: EventFilter,
        most: i64,
    ) -> Result<EventPage, StoreError> {
        let sql = if filter.user.is_some() {
            page!(
                "select * from ( \
                    select * from (select * from events \
                        where user_id = $7 and kind <> 'login-failed' and id < $1 \
                        order by id desc limit $2) most \
                    union all \
                    select * from (select * from events \
                        where user_id = $7 and kind = 'login-failed' and id < $1 \
                        order by id desc limit $2) failed \
                 ) of_user order by id desc limit $2"
            )
        } else {
            page!("select * from events where id < $1 order by id desc limit $2")
        };
        let mut values = vec![
            filter.before.unwrap_or(i64::MAX).into(),
            LOOKED_AT.into(),
            filter.kind.into(),
            filter.since.into(),
            filter.until.into(),
            most.into(),
        ];
        if filter.user.is_some() {
            values.push(filter.user.into());
        }
        let found = self.read("list_events", Lane::Main, sql, values).await?;
        Ok(page(&found, most, filter.since)?)
    }
}

fn page(found: &[Row], most: i64, since: Option<Timestamp>) -> Result<EventPage, sqlx::Error> {
    let first = found.first().ok_or(sqlx::Error::RowNotFound)?;
    let mut events = Vec::new();
    for row in found {
        if row.int_or_null("id")?.is_some() {
            events.push(event(row)?);
        }
    }
    let is_full = i64::try_from(events.len()).is_ok_and(|found| found >= most);
    let latest = first.int_or_null("latest")?;
    let too_old = since.zip(latest).is_some_and(|(since, at)| at < since.0 - OUT_OF_ORDER_MS);
    let next = if is_full {
        events.last().map(|event| event.id)
    } else if first.int("looked")? < LOOKED_AT || too_old {
        None
    } else {
        first.int_or_null("oldest")?
    };
    Ok(EventPage { events, next })
}

fn event(row: &Row) -> Result<EventRecord, sqlx::Error> {
    // What somebody wrote by hand must not hide the rest.
    let user = |name| -> Result<Option<UserId>, sqlx::Error> {
        Ok(row.text_or_null(name)?.and_then(|id| id.parse().ok()).map(UserId))
    };
    Ok(EventRecord {
        id: row.int("id")?,
        at: row.time("at")?,
        kind: row.text("kind")?,
        user: user("user_id")?,
        actor: user("actor")?,
        session: row.text_or_null("session_id")?.and_then(|id| id.parse().ok()),
        reason: row.text_or_null("reason")?,
        ip: row.text_or_null("ip")?,
        user_agent: row.text_or_null("user_agent")?,
        other_ip: row.text_or_null("other_ip")?,
        other_user_agent: row.text_or_null("other_user_agent")?,
        subject: row.text_or_null("subject")?,
        origin: row.text_or_null("origin")?,
        times: row.int("times")?,
        last_at: row.time_or_null("last_at")?,
    })
}
