//! Records every poll with the time at which the service claimed it.
//!
//! Calls arrive at the stand-in with a varying delay. The render's row has the exact time that the rules use, so a trigger
//! records it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::upstream::Schedule;
use renderhook_dev::standin::ApiCall;
use reqwest::StatusCode;
use sqlx::PgPool;

/// How long an observation may take to be committed, and a call to arrive.
const COMMIT: TimeDelta = TimeDelta::seconds(4);

const TRIGGER: &str = "
    CREATE TABLE polls (render_id text, at timestamptz, requested boolean);
    CREATE FUNCTION record_poll() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO polls (render_id, at, requested) VALUES (NEW.id, NEW.polled_at, OLD.poll_requested);
        RETURN NULL;
    END $$;
    CREATE TRIGGER record_poll AFTER UPDATE ON renders FOR EACH ROW
    WHEN (NEW.polled_at IS DISTINCT FROM OLD.polled_at) EXECUTE FUNCTION record_poll();";

/// A poll.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Poll {
    /// The render's id.
    pub(crate) render_id: String,
    /// When it was claimed.
    pub(crate) at: DateTime<Utc>,
    /// Whether it was requested.
    pub(crate) requested: bool,
}

impl Poll {
    /// Whether its call failed.
    pub(crate) fn failed(&self, calls: &[ApiCall]) -> bool {
        calls.iter().any(|call| {
            call.id == self.render_id
                && (self.at..self.at + COMMIT).contains(&call.at)
                && call.status != Some(StatusCode::OK)
        })
    }
}

/// Records every poll from now on.
pub(crate) async fn record_polls(pool: &PgPool) {
    sqlx::raw_sql(TRIGGER).execute(pool).await.unwrap();
}

/// All recorded polls, in order.
pub(crate) async fn all(pool: &PgPool) -> Vec<Poll> {
    sqlx::query_as("SELECT render_id, at, requested FROM polls ORDER BY at").fetch_all(pool).await.unwrap()
}

/// Times by render.
type Times = HashMap<String, Vec<DateTime<Utc>>>;

async fn times(pool: &PgPool, statement: &'static str) -> Times {
    let rows: Vec<(String, DateTime<Utc>)> = sqlx::query_as(statement).fetch_all(pool).await.unwrap();
    let mut times = Times::new();
    for (id, at) in rows {
        times.entry(id).or_default().push(at);
    }
    times
}

/// What the rules compare polls with.
#[derive(Debug)]
pub(crate) struct PollRules<'a> {
    pub(crate) schedule: &'a Schedule,
    /// When processes started. Each then polls all unfinished renders soon.
    pub(crate) starts: &'a [DateTime<Utc>],
    /// The calls that arrived. Polls whose calls failed have their own backoff, and are ignored.
    pub(crate) calls: &'a [ApiCall],
}

/// Describes polls that came earlier than the rules allow.
pub(crate) async fn violations(pool: &PgPool, rules: &PollRules<'_>) -> Vec<String> {
    let seen = times(pool, "SELECT render_id, received_at FROM deliveries").await;
    let news = times(pool, "SELECT render_id, at FROM transitions WHERE source = 'poll'").await;
    let ends =
        times(pool, "SELECT render_id, at FROM transitions WHERE to_status IN ('error', 'canceled', 'complete')").await;
    let mut by_render: BTreeMap<String, Vec<Poll>> = BTreeMap::new();
    for poll in all(pool).await.into_iter().filter(|poll| !poll.failed(rules.calls)) {
        by_render.entry(poll.render_id.clone()).or_default().push(poll);
    }
    let mut violations = Vec::new();
    for (id, polls) in &by_render {
        let of = |times: &Times| times.get(id).cloned().unwrap_or_default();
        violations.extend(rules.early_polls(polls, &of(&seen), &of(&news)));
        violations.extend(of(&ends).into_iter().min().and_then(|end| late_polls(polls, end)));
    }
    violations
}

impl PollRules<'_> {
    /// Describes polls of one render that came too early after the one before. `seen` is when webhooks about it arrived,
    /// `news` when polls found a change.
    fn early_polls(&self, polls: &[Poll], seen: &[DateTime<Utc>], news: &[DateTime<Utc>]) -> Vec<String> {
        let mut violations = Vec::new();
        let mut attempts = 0;
        for pair in polls.windows(2) {
            let [one, other] = pair else { continue };
            let id = &one.render_id;
            let moved = news.iter().any(|at| (one.at..other.at).contains(at));
            attempts = if moved { 0 } else { attempts + 1 };
            let gap = other.at - one.at;
            if gap < TimeDelta::from_std(self.schedule.min_interval()).unwrap() {
                violations.push(format!("{id} was polled after {gap}, at {}", other.at));
            }
            let between = |at: &DateTime<Utc>| (one.at - COMMIT..other.at).contains(at);
            if other.requested || seen.iter().chain(self.starts).any(between) {
                attempts = 0;
            } else if other.at < earliest(self.schedule, attempts, one.at) {
                violations
                    .push(format!("{id} was polled after {gap}, at {}, without news for {attempts} times", other.at));
            }
        }
        violations
    }
}

/// Describes polls of one render that came after it had ended, but for one that was on its way.
fn late_polls(polls: &[Poll], end: DateTime<Utc>) -> Option<String> {
    let late: Vec<_> = polls.iter().filter(|poll| poll.at > end && !poll.requested).collect();
    let at: Vec<_> = late.iter().map(|poll| poll.at).collect();
    let id = &late.first()?.render_id;
    let is_wrong = late.len() > 1 || at.iter().any(|at| *at > end + COMMIT);
    is_wrong.then(|| format!("{id} has ended at {end} and was polled at {at:?}"))
}

/// The earliest time of the next poll after one at `at`, after `attempts` polls in a row without a change, according to
/// docs/polling.md.
fn earliest(schedule: &Schedule, attempts: u32, at: DateTime<Utc>) -> DateTime<Utc> {
    let gap = schedule.initial_delay * 2_u32.saturating_pow(attempts);
    at + gap.min(schedule.max_interval).mul_f64(0.8)
}
