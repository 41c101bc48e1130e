//! Writes decisions: downloads and history. Decides nothing.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::observation::{Observation, Source};
use super::rule::{Decision, StoredRender};
use super::{RecordOutcome, Recorded};
use crate::domain::{EventType, Notification, Status};
use crate::feed::Outbox;
use crate::runtime::{Tallies, Tally, Wakeups};

/// The render before, and the decision.
pub(super) type Decided<'a> = (Option<&'a StoredRender>, Decision);

/// Writes new and changed downloads.
pub(super) async fn downloads(transaction: &mut PgConnection, decided: &[Decided<'_>]) -> sqlx::Result<()> {
    let all = || {
        decided.iter().flat_map(|(_, decision)| {
            decision.downloads.iter().map(|(index, it)| (decision.render.id.as_str(), *index, it))
        })
    };
    if all().next().is_none() {
        return Ok(());
    }
    let written = sqlx::query_file!(
        "src/intake/record/statements/write_downloads.sql",
        &all().map(|(id, ..)| id).collect::<Vec<_>>() as _,
        &all().map(|(_, index, _)| index).collect::<Vec<_>>(),
        &all().map(|(.., it)| it.state.as_str()).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.source.url.as_deref()).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.source.host.as_str()).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.source.expires_at).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.source.observed_at).collect::<Vec<_>>(),
        &all().map(|(.., it)| it.key.as_str()).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.attempts).collect::<Vec<_>>(),
        &all().map(|(.., it)| it.first_attempt_at).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.due_at).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.lease).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.error.as_ref().map(|(code, _)| code.as_str())).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.error.as_ref().map(|(_, message)| message.as_str())).collect::<Vec<_>>() as _,
        &all().map(|(.., it)| it.updated_at).collect::<Vec<_>>(),
    );
    let written = written.execute(transaction).await?;
    debug_assert_eq!(usize::try_from(written.rows_affected()).ok(), Some(all().count()));
    Ok(())
}

/// Writes transitions, credits, deliveries, and totals, and notifies waiting tasks.
pub(super) async fn history(
    transaction: &mut PgConnection,
    observations: &[Observation],
    recorded: &[Recorded],
    decided: &[Decided<'_>],
    tallies: Tallies,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let transitions = || {
        decided.iter().flat_map(|(_, it)| it.transitions.iter().map(|transition| (it.render.id.as_str(), transition)))
    };
    let credits = || decided.iter().flat_map(|(_, it)| it.credits.iter().map(|change| (it.render.id.as_str(), change)));
    let delivered = || {
        let each = observations.iter().zip(recorded);
        each.filter(|(it, did)| it.source == Source::Webhook && it.replayed_delivery.is_none() && did.store_delivery)
    };
    let (totals, differences) = tallies.into_rows();
    let (channels, payloads) = notifications(decided);
    let written = sqlx::query_file!(
        "src/intake/record/statements/write_history.sql",
        now,
        &transitions().map(|(id, _)| id).collect::<Vec<_>>() as _,
        &transitions().map(|(_, it)| it.change.from.map(Status::as_str)).collect::<Vec<_>>() as _,
        &transitions().map(|(_, it)| it.change.to.as_str()).collect::<Vec<_>>() as _,
        &transitions().map(|(_, it)| it.source.as_str()).collect::<Vec<_>>() as _,
        &transitions().map(|(_, it)| it.event_type.as_deref()).collect::<Vec<_>>() as _,
        &transitions().map(|(_, it)| it.lag_ms).collect::<Vec<_>>() as _,
        &credits().map(|(id, _)| id).collect::<Vec<_>>() as _,
        &credits().map(|(_, it)| it.value).collect::<Vec<_>>(),
        &credits().map(|(_, it)| it.status.map(Status::as_str)).collect::<Vec<_>>() as _,
        &credits().map(|(_, it)| it.source.as_str()).collect::<Vec<_>>() as _,
        &delivered().map(|(it, _)| it.observed_at).collect::<Vec<_>>(),
        &delivered().map(|(it, _)| it.lag_ms).collect::<Vec<_>>() as _,
        &delivered().map(|(it, _)| it.body.as_deref()).collect::<Vec<_>>() as _,
        &delivered().map(|(it, _)| it.event_type.as_ref().map(EventType::as_str)).collect::<Vec<_>>() as _,
        &delivered().map(|(it, _)| it.render_id.as_str()).collect::<Vec<_>>() as _,
        &delivered().map(|(_, did)| did.outcome.as_str()).collect::<Vec<_>>() as _,
        &totals,
        &differences,
        Tallies::shard(),
        &channels as _,
        &payloads as _,
    );
    written.execute(transaction).await.map(drop)
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
         SET outcome = row.outcome, body = CASE WHEN row.erased THEN NULL ELSE d.body END, problem = NULL, event_type = row.event_type, render_id = row.render_id
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

/// The channels and payloads to notify.
fn notifications<'a>(decided: &'a [Decided<'_>]) -> (Vec<&'static str>, Vec<&'a str>) {
    let mut notifications = Vec::new();
    if decided.iter().any(|(_, it)| it.wakes_workers) {
        notifications.push((Wakeups::DOWNLOADS, ""));
    }
    if decided.iter().any(|(_, it)| it.wakes_reconciler) {
        notifications.push((Wakeups::POLLS, ""));
    }
    notifications.into_iter().unzip()
}
