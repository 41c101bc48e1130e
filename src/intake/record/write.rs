//! Writes what was decided. Decides nothing.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::observation::Observation;
use super::rows::{WrittenCredits, WrittenDelivery, WrittenDownload, WrittenRender, WrittenTransition};
use super::rule::{Decision, StoredRender};
use super::{RecordOutcome, Recorded};
use crate::domain::{EventType, Notification, Status};
use crate::feed::Outbox;
use crate::runtime::{Tallies, Tally, Wakeups};

/// The render before, and the decision.
pub(super) type Decided<'a> = (Option<&'a StoredRender>, Decision);

/// Writes renders, downloads, transitions, credits, and deliveries, and wakes waiting tasks. Returns `false` if another
/// transaction has created one of the new renders, or a locked one is gone; then the transaction must not commit.
pub(super) async fn batch(
    transaction: &mut PgConnection,
    observations: &[Observation],
    recorded: &[Recorded],
    decided: &[Decided<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for (before, Decision { render, .. }) in decided {
        match before {
            None => new.push(WrittenRender::of(render)),
            Some(before) if **before != *render => changed.push(WrittenRender::of(render)),
            Some(_) => {}
        }
    }
    let each = || decided.iter().map(|(_, decision)| (decision.render.id.as_str(), decision));
    let downloads: Vec<_> = each()
        .flat_map(|(id, it)| it.downloads.iter().map(|(index, it)| WrittenDownload::of(id, *index, it)))
        .collect();
    let transitions: Vec<_> =
        each().flat_map(|(id, it)| it.transitions.iter().map(|it| WrittenTransition::of(id, it))).collect();
    let credits: Vec<_> = each().flat_map(|(id, it)| it.credits.iter().map(|it| WrittenCredits::of(id, it))).collect();
    let deliveries: Vec<_> =
        observations.iter().zip(recorded).filter_map(|(it, did)| WrittenDelivery::of(it, did)).collect();
    let written = sqlx::query_file!(
        "src/intake/record/statements/write_batch.sql",
        &new as _,
        &changed as _,
        &downloads as _,
        now,
        &transitions as _,
        &credits as _,
        &deliveries as _,
        &wakeups(decided) as _,
    );
    let written = written.fetch_one(transaction).await?;
    let are_all = |count: i64, rows: &[WrittenRender<'_>]| usize::try_from(count).is_ok_and(|it| it == rows.len());
    Ok(are_all(written.created, &new) && are_all(written.changed, &changed))
}

/// Writes the outcomes of stored deliveries that were recorded again.
pub(super) async fn replayed(
    transaction: &mut PgConnection,
    observations: &[Observation],
    recorded: &[Recorded],
) -> sqlx::Result<()> {
    let replayed = || observations.iter().zip(recorded).filter_map(|(it, did)| Some((it.replayed_delivery?, it, did)));
    if replayed().next().is_none() {
        return Ok(());
    }
    let written = sqlx::query!(
        "UPDATE deliveries AS d
         SET outcome = row.outcome, body = CASE WHEN row.erased THEN NULL ELSE d.body END, problem = NULL,
             event_type = row.event_type, render_id = row.render_id
         FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::bool[])
             AS row (id, event_type, render_id, outcome, erased)
         WHERE d.id = row.id",
        &replayed().map(|(id, ..)| id).collect::<Vec<_>>(),
        &replayed().map(|(_, it, _)| it.event_type.as_ref().map(EventType::as_str)).collect::<Vec<_>>() as _,
        &replayed().map(|(_, it, _)| it.render_id.as_str()).collect::<Vec<_>>() as _,
        &replayed().map(|(.., did)| did.outcome.as_str()).collect::<Vec<_>>() as _,
        &replayed().map(|(.., did)| did.outcome == RecordOutcome::Erased).collect::<Vec<_>>(),
    );
    written.execute(transaction).await.map(drop)
}

/// The notifications to write.
pub(super) fn outbox<'a>(decided: &'a [Decided<'_>]) -> Outbox<'a> {
    let mut outbox = Outbox::default();
    for (before, decision) in decided {
        let (id, before) = (decision.render.id.as_str(), before.map(StoredRender::progress).unwrap_or_default());
        for transition in &decision.transitions {
            outbox.extend(id, Notification::of_transition(transition.change.from, transition.change.to));
        }
        outbox.extend(id, Notification::of_files(before, decision.render.progress()));
    }
    outbox
}

/// The credits that a render adds to the total: none until it is complete, because they may change or be refunded.
fn credits(render: &StoredRender) -> i128 {
    match render.status {
        Some(Status::Complete) => render.fields.credits_charged.as_ref().map_or(0, |it| i128::from(it.value)),
        Some(Status::Draft | Status::Queued | Status::Rendering | Status::Error | Status::Canceled) | None => 0,
    }
}

/// The changes of the totals.
pub(super) fn tallies(decided: &[Decided<'_>]) -> Tallies {
    let mut tallies = Tallies::default();
    for (before, Decision { render, .. }) in decided {
        if let Some(before) = before {
            tallies.add(Tally::Renders(before.kind, before.status), -1);
            tallies.add(Tally::Credits(before.kind), -credits(before));
        }
        tallies.add(Tally::Renders(render.kind, render.status), 1);
        tallies.add(Tally::Credits(render.kind), credits(render));
        tallies.add_files(before.map(|before| before.files).unwrap_or_default(), render.files);
    }
    tallies
}

/// The channels to notify.
fn wakeups(decided: &[Decided<'_>]) -> Vec<&'static str> {
    let workers = decided.iter().any(|(_, it)| it.wakes_workers).then_some(Wakeups::DOWNLOADS);
    let reconciler = decided.iter().any(|(_, it)| it.wakes_reconciler).then_some(Wakeups::POLLS);
    workers.into_iter().chain(reconciler).collect()
}
