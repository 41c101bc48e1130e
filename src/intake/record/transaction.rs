//! Records a batch of observations in one transaction: lock and read, decide, write.
//!
//! Renders are locked in the order of their ids, then their downloads, then the totals, so batches do not deadlock. If another
//! transaction creates one of the renders in the meantime, the transaction is repeated. Each transaction sets its isolation
//! level and time limits and uses no session state, so any pooler works.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};

use super::observation::Observation;
use super::rule::{self, Download, StoredRender};
use super::{RecordRules, Recorded, read, write};
use crate::domain::RenderId;
use crate::runtime::{Database, begin};

/// What each transaction depends on, in one round trip. What a dead process holds is let go after these times. Rows are
/// found by their keys, whatever the statistics say: a plan made while a table was empty would read the whole table until
/// the next ANALYZE.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '2s'; \
    SET LOCAL statement_timeout = '2500ms'; SET LOCAL idle_in_transaction_session_timeout = '5s'; \
    SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
    SET LOCAL plan_cache_mode = force_generic_plan";
/// How far back repetitions of a request are counted. This is much longer than a signature is accepted.
const REPETITION_WINDOW: TimeDelta = TimeDelta::days(1);
/// The maximum number of attempts if transactions conflict.
const MAX_ATTEMPTS: usize = 8;

/// Records `observations` in order and commits. Returns a result for each. Transitions are reported in the feed, and those of
/// the posted types are also posted.
pub async fn record(
    pool: &PgPool,
    now: DateTime<Utc>,
    observations: &[Observation],
    rules: &RecordRules,
) -> sqlx::Result<Vec<Recorded>> {
    for _ in 1..MAX_ATTEMPTS {
        match Box::pin(try_to_record(pool, now, observations, rules)).await {
            Ok(Some(recorded)) => return Ok(recorded),
            Ok(None) => {}
            Err(error) if Database::is_conflict(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Box::pin(try_to_record(pool, now, observations, rules)).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Returns `None`, without writing anything, if another transaction has created one of the renders in the meantime.
async fn try_to_record(
    pool: &PgPool,
    now: DateTime<Utc>,
    observations: &[Observation],
    rules: &RecordRules,
) -> sqlx::Result<Option<Vec<Recorded>>> {
    let mut transaction = begin(pool, BEGIN).await?;
    let ids: BTreeSet<_> = observations.iter().map(|it| it.render_id.as_str()).collect();
    let stored = read::lock(&mut transaction, &ids.into_iter().collect::<Vec<_>>()).await?;
    let downloads = read_downloads(&mut transaction, &stored, observations).await?;
    let repetitions = read_repetitions(&mut transaction, &stored, observations, now).await?;
    let (mut recorded, decisions) = decide(observations, &stored, downloads, rules, now);
    for (did, count) in recorded.iter_mut().zip(repetitions) {
        did.store_delivery = rule::stores_delivery(did.outcome, count);
    }
    if !write::batch(&mut transaction, observations, &recorded, &decisions, now).await? {
        transaction.rollback().await?;
        return Ok(None);
    }
    write::replayed(&mut transaction, observations, &recorded).await?;
    write::outbox(&decisions).write(&mut transaction, write::tallies(&decisions), rules.posted, now).await?;
    transaction.commit().await?;
    Ok(Some(recorded))
}

/// What each observation did, and what to write for each render.
fn decide<'a>(
    observations: &[Observation],
    stored: &'a HashMap<String, StoredRender>,
    mut downloads: HashMap<String, BTreeMap<i32, Download>>,
    rules: &RecordRules,
    now: DateTime<Utc>,
) -> (Vec<Recorded>, Vec<write::Decided<'a>>) {
    let mut by_render: BTreeMap<&RenderId, Vec<usize>> = BTreeMap::new();
    for (position, observation) in observations.iter().enumerate().filter(|(_, it)| it.kind.is_some()) {
        by_render.entry(&observation.render_id).or_default().push(position);
    }
    let mut recorded = vec![Recorded::of_unknown_kind(); observations.len()];
    let mut decisions = Vec::with_capacity(by_render.len());
    let is_erased = |id: &RenderId| stored.get(id.as_str()).is_some_and(|render| render.erased);
    for (did, _) in recorded.iter_mut().zip(observations).filter(|(_, it)| is_erased(&it.render_id)) {
        *did = Recorded::of_erased();
    }
    for (id, positions) in by_render.into_iter().filter(|(id, _)| !is_erased(id)) {
        let its: Vec<_> = positions.iter().map(|&position| &observations[position]).collect();
        let downloads = downloads.remove(id.as_str()).unwrap_or_default();
        let decision = rule::decide(stored.get(id.as_str()), downloads, &its, rules, now);
        for (&position, did) in positions.iter().zip(&decision.recorded) {
            recorded[position] = *did;
        }
        decisions.push((stored.get(id.as_str()), decision));
    }
    (recorded, decisions)
}

/// How many times the request of each observation is already stored, if it may be a repetition.
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
    let positions: Vec<_> = (0..observations.len())
        .filter(|&position| observations[position].body.is_some() && may_repeat(&observations[position]))
        .collect();
    if positions.is_empty() {
        return Ok(repetitions);
    }
    let requests: Vec<_> = positions.iter().map(|&position| &observations[position]).collect();
    let counts = read::stored_repetitions(transaction, &requests, now - REPETITION_WINDOW).await?;
    for (position, count) in positions.into_iter().zip(counts) {
        repetitions[position] = count;
    }
    Ok(repetitions)
}

/// Locks and reads the downloads in the observations, for renders that exist.
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
