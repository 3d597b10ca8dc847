//! How many sessions users have, on SQLite.

use claims::{SessionId, Timestamp, UserId};
use sqlx::{query, query_scalar};

use super::super::StoreError;
use super::super::records::EndReason;
use super::super::rows;
use super::sessions::end;
use super::{Sqlite, Write};

impl Sqlite {
    pub(in crate::store) async fn owner_of(
        &self,
        session: SessionId,
    ) -> Result<Option<UserId>, StoreError> {
        let found = query("select user_id from sessions where id = $1")
            .bind(session.to_string())
            .fetch_all(&mut self.readers.acquire().await?)
            .await?;
        Ok(found.first().map(rows::user_id).transpose()?)
    }

    /// Not exact: sessions that were not used for too long are counted too.
    pub(in crate::store) async fn crowded_users(
        &self,
        after: Option<UserId>,
        most: i64,
        batch: i64,
    ) -> Result<Vec<(UserId, bool)>, StoreError> {
        let found = query(concat!(
            "select u.id as user_id, case when (",
            rows::count_up_to!(),
            ") > $2 then 1 else 0 end as crowded \
             from users u where u.id > $1 order by u.id limit $3"
        ))
        .bind(after.map_or_else(String::new, |user| user.to_string()))
        .bind(most)
        .bind(batch)
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(found.iter().map(rows::crowded).collect::<Result<_, _>>()?)
    }

    pub(in crate::store) async fn trim_sessions(
        &self,
        user: UserId,
        most: i64,
        batch: i64,
    ) -> Result<i64, StoreError> {
        let (mut write, now) = self.begin().await?;
        let ended = end_surplus(&mut write, user, None, most, batch, now).await?;
        write.commit().await?;
        Ok(ended)
    }
}

/// Ends what the user has beyond `most` live sessions, at most `batch` of it: first those that were
/// never refreshed, then those that were not used for longest; never `keep`. Says how many.
pub(super) async fn end_surplus(
    write: &mut Write,
    user: UserId,
    keep: Option<SessionId>,
    most: i64,
    batch: i64,
    now: Timestamp,
) -> Result<i64, sqlx::Error> {
    let surplus: Vec<i64> = query_scalar(
        "select count(*) - $3 from sessions s join users u on u.id = s.user_id \
         where s.user_id = $1 and s.subject_version = u.version and s.revoked_at is null \
           and $2 < s.idle_expires_at",
    )
    .bind(user.to_string())
    .bind(now.0)
    .bind(most)
    .fetch_all(&mut **write)
    .await?;
    let surplus = surplus.first().map_or(0, |surplus| *surplus.min(&batch));
    if surplus <= 0 {
        return Ok(0);
    }
    let ids: Vec<String> = query_scalar(
        "select s.id from sessions s join users u on u.id = s.user_id \
         where s.user_id = $1 and s.subject_version = u.version and s.revoked_at is null \
           and $2 < s.idle_expires_at and s.id is not $3 \
         order by s.rotated_at is not null, coalesce(s.rotated_at, s.created_at), s.id limit $4",
    )
    .bind(user.to_string())
    .bind(now.0)
    .bind(keep.map(|id| id.to_string()))
    .bind(surplus)
    .fetch_all(&mut **write)
    .await?;
    end_each(write, &ids, EndReason::Limit, now).await?;
    Ok(surplus)
}

/// At most `batch` of the user's sessions that could be used, all but `keep`.
pub(super) async fn others(
    write: &mut Write,
    keep: SessionId,
    user: &str,
    batch: i64,
) -> Result<Vec<String>, sqlx::Error> {
    query_scalar(
        "select s.id from sessions s join users u on u.id = s.user_id \
         where s.user_id = $1 and s.subject_version = u.version and s.revoked_at is null \
           and s.id <> $2 limit $3",
    )
    .bind(user)
    .bind(keep.to_string())
    .bind(batch)
    .fetch_all(&mut **write)
    .await
}

pub(super) fn count(ids: &[String]) -> i64 {
    i64::try_from(ids.len()).unwrap_or(i64::MAX)
}

pub(super) async fn end_each(
    write: &mut Write,
    ids: &[String],
    why: EndReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for id in ids {
        end(write, id, why, now).await?;
    }
    Ok(())
}
