//! What sessions need most often, on SQLite: rotated, looked at and ended, each in one transaction.

use claims::SessionId;

use super::super::postgres::Lane;
use super::super::records::{EndReason, Found, Grant, Presented};
use super::super::rows::{self, Columns as _, grant_columns, live, within_limits};
use super::super::transaction::Tx;
use super::super::{Backend, StoreError};

/// Rotates from generation `from`, where the session is live; `None` when nothing changed.
pub(in crate::store) async fn advance(
    backend: &Backend,
    presented: &Presented,
    from: u32,
) -> Result<Option<Grant>, StoreError> {
    let mut tx = Tx::begin(backend, Lane::Main).await?;
    let sql = concat!(
        "with clock as (select {now} as now) \
         update sessions as s set generation = $3 + 1, rotated_at = clock.now, \
            rotated_ip = $4, rotated_user_agent = $5, \
            expires_at = min(s.expires_at, s.created_at + $9), \
            idle_expires_at = min(clock.now + $6, s.expires_at, s.created_at + $9) \
         from users u, clock \
         where s.id = $1 and s.client_id = $2 and s.generation = $8 and u.id = s.user_id and ",
        live!(),
        " and ",
        within_limits!("$6", "$9"),
        " and (s.rotated_at is null or $7 = 0 or abs(clock.now - s.rotated_at) >= $7) \
         and (s.audience is null or $11 <= ( \
            select count(*) from json_each(s.audience) held \
            where held.value in (select wanted.value from json_each($10) wanted)))"
    );
    let values = [
        presented.session.into(),
        presented.client_id.as_str().into(),
        i64::from(presented.generation).into(),
        presented.requester.ip.clone().into(),
        presented.requester.user_agent.clone().into(),
        presented.limits.idle.into(),
        presented.repeat_window(from).into(),
        i64::from(from).into(),
        presented.limits.absolute.into(),
        presented.target.services().to_vec().into(),
        presented.least_services().into(),
    ];
    let mut grant = None;
    if tx.execute(sql, &values).await? > 0 {
        let sql = concat!(
            "select s.rotated_at as now, ",
            grant_columns!(),
            " from sessions s join users u on u.id = s.user_id where s.id = $1"
        );
        let found = tx.fetch_all(sql, &[presented.session.into()]).await?;
        let row = found.first().ok_or(sqlx::Error::RowNotFound)?;
        grant = Some(rows::grant(row, row.time("now")?)?);
    }
    tx.commit().await?;
    Ok(grant)
}

/// Looks at the session and, when the token was spent, ends it in the same step.
pub(in crate::store) async fn look(
    backend: &Backend,
    presented: &Presented,
) -> Result<Option<Found>, StoreError> {
    let mut tx = Tx::begin(backend, Lane::Main).await?;
    let sql = concat!(
        "with clock as (select {now} as now) \
         select clock.now, s.revoked_at, s.revoke_reason, s.rotated_ip, s.rotated_user_agent, \
            u.version as user_version, u.version_reason, u.enabled, \
            case when abs(clock.now - s.rotated_at) < $4 then 1 else 0 end as in_window, \
            case when ",
        live!(),
        " and ",
        within_limits!("$5", "$6"),
        " and s.generation > $3 \
            and not (s.generation = $3 + 1 and abs(clock.now - s.rotated_at) < $4) \
            then 1 else 0 end as reused, s.created_at as opened_at, \
            coalesce(s.rotated_at, s.created_at) as used_at, ",
        grant_columns!(),
        " from sessions s join users u on u.id = s.user_id, clock \
         where s.id = $1 and s.client_id = $2"
    );
    let values = [
        presented.session.into(),
        presented.client_id.as_str().into(),
        i64::from(presented.generation).into(),
        presented.limits.grace.into(),
        presented.limits.idle.into(),
        presented.limits.absolute.into(),
    ];
    let found = tx.fetch_all(sql, &values).await?;
    let found = found.first().map(|row| rows::found(row, row.time("now")?)).transpose()?;
    if found.as_ref().is_some_and(|found| found.reuse_ended_it) {
        end(&mut tx, presented.session, EndReason::Reuse).await?;
        tell_reuse(&mut tx, presented).await?;
    }
    tx.commit().await?;
    Ok(found)
}

/// Ends all of them, or none where there is an error.
pub(in crate::store) async fn end_each(
    backend: &Backend,
    ids: &[SessionId],
    why: EndReason,
) -> Result<(), StoreError> {
    let mut tx = Tx::begin(backend, Lane::Main).await?;
    for id in ids {
        end(&mut tx, *id, why).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn end(tx: &mut Tx, id: SessionId, why: EndReason) -> Result<(), StoreError> {
    let sql = "update sessions set revoked_at = {now}, revoke_reason = $2 \
         where id = $1 and revoked_at is null";
    tx.execute(sql, &[id.into(), why.as_str().into()]).await?;
    Ok(())
}

/// With both contexts: who presented the spent token, and who had had it rotated.
async fn tell_reuse(tx: &mut Tx, presented: &Presented) -> Result<(), StoreError> {
    let sql = "insert into events (at, kind, user_id, session_id, reason, ip, user_agent, other_ip, \
            other_user_agent) \
         select {now}, 'session-ended', user_id, id, 'reuse', $2, $3, rotated_ip, \
            rotated_user_agent from sessions where id = $1";
    let values = [
        presented.session.into(),
        presented.requester.ip.clone().into(),
        presented.requester.user_agent.clone().into(),
    ];
    tx.execute(sql, &values).await?;
    Ok(())
}
