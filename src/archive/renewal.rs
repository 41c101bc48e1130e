//! Fresh URLs for files whose URLs have expired.
//!
//! A worker that finds a dead URL [`want`]s a fresh one: the wish is the render's, in its row, and the reconciler takes it.
//! The answer is recorded as any other word, which puts the fresh URLs in the place of the old ones and the files up at
//! once. Guaranteed: a render is asked for once, however many of its files and workers want it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::archive::queue::{Lease, LeaseLost, Reason};
use crate::domain::SignedUrl;

/// Who got no fresher URL within this time does not get one by asking again.
pub(super) const ENOUGH: Duration = Duration::from_mins(10);
/// How long a file waits for a fresh URL before it is tried again without one.
const WAIT: Duration = Duration::from_hours(1);

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// The details call will be asked; the file waits.
    Taken,
    /// A fresh URL had come already: the file is up at once.
    Fresh,
    /// It was asked a short while ago and had nothing fresher.
    InVain,
}

/// Wants a fresh URL in the place of `url`, and puts the download back in the queue to wait for it. The attempt does
/// not count. With [`Wish::InVain`] nothing is changed, and the lease still holds.
pub(super) async fn want(
    pool: &PgPool,
    lease: &Lease,
    url: &SignedUrl,
    reason: &Reason,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<Wish, LeaseLost>> {
    let id = lease.render_id().as_str();
    let mut transaction = pool.begin().await?;
    // The render before the download, as everyone takes them; and first, so that what follows sees the newest URL.
    let render = sqlx::query!("SELECT poll_wanted, polled_at FROM renders WHERE id = $1 FOR UPDATE", id)
        .fetch_one(&mut *transaction)
        .await?;
    let held = sqlx::query!(
        "SELECT url, url_observed_at FROM downloads WHERE render_id = $1 AND index = $2 AND lease = $3",
        id,
        lease.index(),
        lease.token(),
    );
    let Some(held) = held.fetch_optional(&mut *transaction).await? else { return Ok(Err(LeaseLost)) };
    let asked_lately = render.polled_at.is_some_and(|asked| asked > now - ENOUGH && asked >= held.url_observed_at);
    let wish = match (held.url.as_deref() == Some(url.expose().as_str()), render.poll_wanted) {
        (false, _) => Wish::Fresh,
        (true, false) if asked_lately => return Ok(Ok(Wish::InVain)),
        (true, _) => Wish::Taken,
    };
    if wish == Wish::Taken && !render.poll_wanted {
        let wanted = sqlx::query!(
            "WITH wanted AS (
                 UPDATE renders SET poll_wanted = true, poll_due_at = least(poll_due_at, $2), poll_attempts = 0 WHERE id = $1
                 RETURNING id
             )
             SELECT pg_notify('renderhook_polls', '') FROM wanted",
            id,
            now,
        );
        wanted.execute(&mut *transaction).await?;
    }
    let due_at = if wish == Wish::Fresh { now } else { now + WAIT };
    sqlx::query!(
        "UPDATE downloads
         SET state = 'pending', lease = NULL, due_at = $3, attempts = attempts - 1, error_code = $4, error_message = $5,
             updated_at = $6
         WHERE render_id = $1 AND index = $2",
        id,
        lease.index(),
        due_at,
        reason.code,
        reason.message,
        now,
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Ok(wish))
}
