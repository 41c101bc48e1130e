//! The transaction that settles a batch: lock, decide, write.
//!
//! Renders are locked before downloads, both in the order of their keys, as everywhere, so transactions do not deadlock.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::attempt::LeasedAttempt;
use super::changes::Changes;
use super::decide::{CurrentDownload, Settlement, decide};
use crate::archive::locked_renders::LockedRenders;
use crate::archive::queue::Reason;
use crate::domain::SignedUrl;
use crate::feed::PostedTypes;
use crate::runtime::{Tallies, begin};

/// Settles a batch. Returns `None` for entries that lost their lease.
pub(super) async fn settle(
    pool: &PgPool,
    entries: &[LeasedAttempt],
    posted: PostedTypes,
) -> sqlx::Result<Vec<Option<Settlement>>> {
    let mut transaction = begin(pool, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let ids: Vec<_> = entries.iter().map(|entry| entry.render_id.as_str()).collect();
    let mut renders = LockedRenders::lock(&mut transaction, &ids).await?;
    let mut downloads = lock_downloads(&mut transaction, entries).await?;
    let mut changes = Changes::default();
    let settlements = entries.iter().map(|entry| {
        // Removed, so that a duplicate entry is only settled once.
        let row = downloads.remove(&(entry.render_id.clone(), entry.index))?;
        let render = renders.get_mut(&entry.render_id)?;
        let current = CurrentDownload {
            url: row.url,
            url_observed_at: row.url_observed_at,
            poll_requested: render.poll_requested,
            polled_at: render.polled_at,
        };
        let settlement = decide(&entry.attempt, &current);
        changes.add(entry, row.last_error, render, &settlement);
        Some(settlement)
    });
    let settlements = settlements.collect();
    changes.write(&mut transaction).await?;
    // The attempts of a batch ended at nearly the same time.
    let now = entries.iter().map(|entry| entry.attempt.ended_at).max().unwrap_or_default();
    let mut outbox = changes.outbox();
    renders.report(&mut outbox);
    let mut tallies = Tallies::default();
    renders.write(&mut transaction, &mut tallies, now).await?;
    outbox.write(&mut transaction, tallies, posted, now).await?;
    transaction.commit().await?;
    renders.count_stored(now);
    Ok(settlements)
}

/// A locked download that its entry still leases.
struct LockedDownload {
    url: Option<SignedUrl>,
    url_observed_at: DateTime<Utc>,
    last_error: Option<Reason>,
}

async fn lock_downloads(
    transaction: &mut PgConnection,
    entries: &[LeasedAttempt],
) -> sqlx::Result<HashMap<(String, i32), LockedDownload>> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.render_id.as_str()).collect();
    let indexes: Vec<_> = entries.iter().map(|entry| entry.index).collect();
    let tokens: Vec<_> = entries.iter().map(|entry| entry.token).collect();
    let rows = sqlx::query!(
        r#"SELECT d.render_id, d.index, d.url, d.url_observed_at, d.error_code, d.error_message
           FROM unnest($1::text[], $2::int4[], $3::uuid[]) AS held (render_id, index, lease)
           JOIN downloads AS d
               ON d.render_id = held.render_id AND d.index = held.index AND d.lease = held.lease
           ORDER BY d.render_id, d.index
           FOR UPDATE OF d"#,
        &ids as _,
        &indexes,
        &tokens,
    );
    let rows = rows.fetch_all(transaction).await?.into_iter().map(|row| {
        let last_error = row.error_code.zip(row.error_message).map(|(code, message)| Reason { code, message });
        let download = LockedDownload {
            url: row.url.and_then(|url| SignedUrl::parse(&url).ok()),
            url_observed_at: row.url_observed_at,
            last_error,
        };
        ((row.render_id, row.index), download)
    });
    Ok(rows.collect())
}
