//! One batch of observations, one transaction: lock and read, decide, write.
//!
//! The rows of the renders are locked in the order of their ids, their downloads after them, the totals last, so that
//! batches do not deadlock. A render that another transaction creates meanwhile makes this one start over. Each
//! transaction pins what it depends on (isolation, time limits), and nothing is bound to a session: any pooler will do.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};

use super::observation::Observation;
use super::rule::{self, Download, StoredRender};
use super::{Recorded, read, write};
use crate::domain::RenderId;
use crate::feed::PostedTypes;

/// What each transaction depends on, in one round trip. What a dead process holds is let go after these times. Rows are
/// found by their keys, whatever the statistics say: a plan made while a table was empty would read the whole table until
/// the next ANALYZE.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '2s'; \
    SET LOCAL statement_timeout = '2500ms'; SET LOCAL idle_in_transaction_session_timeout = '5s'; \
    SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
    SET LOCAL plan_cache_mode = force_generic_plan";
/// How far back repetitions of a request are counted: far longer than a signature is accepted.
const REPETITIONS_WITHIN: TimeDelta = TimeDelta::days(1);
/// How often a transaction is tried that another one got in the way of.
const TRIES: usize = 8;

/// Records `observations`, in their order, and says of each what it did. Committed when it returns.
/// Transitions are reported in the feed, and those of `posted` types are to be posted.
pub async fn record(
    pool: &PgPool,
    now: DateTime<Utc>,
    observations: &[Observation],
    posted: PostedTypes,
) -> sqlx::Result<Vec<Recorded>> {
    for _ in 1..TRIES {
        match Box::pin(try_to_record(pool, now, observations, posted)).await {
            Ok(Some(recorded)) => return Ok(recorded),
            Ok(None) => {}
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Box::pin(try_to_record(pool, now, observations, posted)).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Whether Postgres asks to try the transaction again: a serialization failure or a deadlock.
fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// `None` if another transaction has created one of the renders meanwhile: nothing is written.
async fn try_to_record(
    pool: &PgPool,
    now: DateTime<Utc>,
    observations: &[Observation],
    posted: PostedTypes,
) -> sqlx::Result<Option<Vec<Recorded>>> {
    let mut by_render: BTreeMap<&RenderId, Vec<usize>> = BTreeMap::new();
    for (place, observation) in observations.iter().enumerate().filter(|(_, it)| it.kind.is_some()) {
        by_render.entry(&observation.render_id).or_default().push(place);
    }
    let mut transaction = pool.begin_with(BEGIN).await?;
    let stored = read::lock(&mut transaction, &by_render.keys().map(|id| id.as_str()).collect::<Vec<_>>()).await?;
    let mut downloads = read_downloads(&mut transaction, &stored, observations).await?;
    let repetitions = read_repetitions(&mut transaction, &stored, observations, now).await?;
    let mut recorded = vec![Recorded::of_unknown_kind(); observations.len()];
    let mut decisions = Vec::with_capacity(by_render.len());
    for (id, places) in by_render {
        let its: Vec<_> = places.iter().map(|&place| &observations[place]).collect();
        let decision =
            rule::decide(stored.get(id.as_str()), downloads.remove(id.as_str()).unwrap_or_default(), &its, now);
        for (&place, did) in places.iter().zip(&decision.recorded) {
            recorded[place] = *did;
        }
        decisions.push((stored.get(id.as_str()), decision));
    }
    for (did, count) in recorded.iter_mut().zip(repetitions) {
        did.is_kept = rule::is_kept(did.outcome, count);
    }
    if !write::renders(&mut transaction, &decisions).await? {
        transaction.rollback().await?;
        return Ok(None);
    }
    write::downloads(&mut transaction, &decisions).await?;
    write::history(&mut transaction, observations, &recorded, &decisions, now).await?;
    write::outbox(&decisions).write(&mut transaction, posted, now).await?;
    transaction.commit().await?;
    Ok(Some(recorded))
}

/// How many times the request of each observation was kept before, where it may be a repetition.
async fn read_repetitions(
    transaction: &mut PgConnection,
    stored: &HashMap<String, StoredRender>,
    observations: &[Observation],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<i32>> {
    let mut repetitions = vec![0; observations.len()];
    let may_repeat = |it: &Observation| match stored.get(it.render_id.as_str()) {
        Some(render) => it.event_type.as_ref().is_some_and(|it| render.has_seen(it.as_str())),
        None => it.kind.is_none(),
    };
    let places: Vec<_> = (0..observations.len())
        .filter(|&place| observations[place].body.is_some() && may_repeat(&observations[place]))
        .collect();
    if places.is_empty() {
        return Ok(repetitions);
    }
    let requests: Vec<_> = places.iter().map(|&place| &observations[place]).collect();
    let counts = read::repetitions(transaction, &requests, now - REPETITIONS_WITHIN).await?;
    for (place, count) in places.into_iter().zip(counts) {
        repetitions[place] = count;
    }
    Ok(repetitions)
}

/// Locks and reads those downloads that the observations name, of renders that are there.
async fn read_downloads(
    transaction: &mut PgConnection,
    stored: &HashMap<String, StoredRender>,
    observations: &[Observation],
) -> sqlx::Result<HashMap<String, BTreeMap<i32, Download>>> {
    let named: HashSet<(&str, i32)> = observations
        .iter()
        .filter(|it| stored.get(it.render_id.as_str()).is_some_and(|render| render.files.total > 0))
        .flat_map(|it| (0..).zip(it.files()).map(|(index, _)| (it.render_id.as_str(), index)))
        .collect();
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    read::lock_downloads(transaction, named).await
}
