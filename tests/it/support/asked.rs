//! Every question that the service means to ask of Magic Hour, by its own clock.
//!
//! What the stand-in counts comes a moment later than it was decided, and the moment differs. The row of a render has the
//! very time by which the rules go, so a trigger keeps it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::upstream::Schedule;
use sqlx::PgPool;

/// How long after its time a word may be committed: until then others go by what stood before.
const COMMIT: TimeDelta = TimeDelta::seconds(4);

const TRIGGER: &str = "
    CREATE TABLE asked (render_id text, at timestamptz, wanted boolean, refused boolean DEFAULT false);
    CREATE FUNCTION asked() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.polled_at IS NULL OR NEW.polled_at > OLD.polled_at THEN
            INSERT INTO asked (render_id, at, wanted) VALUES (NEW.id, NEW.polled_at, OLD.poll_wanted);
        ELSE
            -- It is put back as if it had not been asked: the account or the API was in trouble.
            UPDATE asked SET refused = true WHERE render_id = NEW.id AND at = OLD.polled_at;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER asked AFTER UPDATE ON renders FOR EACH ROW
    WHEN (NEW.polled_at IS DISTINCT FROM OLD.polled_at) EXECUTE FUNCTION asked();";

/// A question.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Asked {
    /// About which render.
    pub(crate) render_id: String,
    /// When it was taken up.
    pub(crate) at: DateTime<Utc>,
    /// Whether somebody waited for the answer.
    pub(crate) wanted: bool,
    /// Whether the account or the API was in trouble.
    pub(crate) refused: bool,
}

/// Keeps every question from now on.
pub(crate) async fn keep(pool: &PgPool) {
    sqlx::raw_sql(TRIGGER).execute(pool).await.unwrap();
}

/// Every question that was kept, in order.
pub(crate) async fn all(pool: &PgPool) -> Vec<Asked> {
    sqlx::query_as("SELECT render_id, at, wanted, refused FROM asked ORDER BY at").fetch_all(pool).await.unwrap()
}

/// Times, a list for each render.
type Times = HashMap<String, Vec<DateTime<Utc>>>;

async fn times(pool: &PgPool, statement: &'static str) -> Times {
    let rows: Vec<(String, DateTime<Utc>)> = sqlx::query_as(statement).fetch_all(pool).await.unwrap();
    let mut times = Times::new();
    for (id, at) in rows {
        times.entry(id).or_default().push(at);
    }
    times
}

/// Where a render was asked for more often than the rules say, in words. At `starts` a process began: then all that is
/// unfinished is asked for soon.
pub(crate) async fn breaches(pool: &PgPool, schedule: &Schedule, starts: &[DateTime<Utc>]) -> Vec<String> {
    let heard = times(pool, "SELECT render_id, received_at FROM deliveries").await;
    let news = times(pool, "SELECT render_id, at FROM transitions WHERE source = 'poll'").await;
    let ends =
        times(pool, "SELECT render_id, at FROM transitions WHERE to_status IN ('error', 'canceled', 'complete')").await;
    let mut by_render: BTreeMap<String, Vec<Asked>> = BTreeMap::new();
    for asked in all(pool).await.into_iter().filter(|asked| !asked.refused) {
        by_render.entry(asked.render_id.clone()).or_default().push(asked);
    }
    let none = Vec::new();
    let mut breaches = Vec::new();
    for (id, asked) in &by_render {
        let of = |times: &'_ Times| times.get(id).unwrap_or(&none).clone();
        let (heard, news) = (of(&heard), of(&news));
        let mut tries = 0;
        for pair in asked.windows(2) {
            let [one, other] = pair else { continue };
            let told = news.iter().any(|at| (one.at..other.at).contains(at));
            tries = if told { 0 } else { tries + 1 };
            let gap = other.at - one.at;
            if gap < TimeDelta::from_std(schedule.spacing()).unwrap() {
                breaches.push(format!("{id} was asked for after {gap}, at {}", other.at));
            }
            let between = |at: &DateTime<Utc>| (one.at - COMMIT..other.at).contains(at);
            if other.wanted || heard.iter().chain(starts).any(between) {
                tries = 0;
            } else if other.at < earliest(schedule, tries, one.at) {
                breaches
                    .push(format!("{id} was asked for after {gap}, at {}, without news for {tries} times", other.at));
            }
        }
        let Some(end) = of(&ends).into_iter().min() else { continue };
        let late: Vec<_> = asked.iter().filter(|asked| asked.at > end && !asked.wanted).map(|asked| asked.at).collect();
        if late.len() > 1 || late.iter().any(|at| *at > end + COMMIT) {
            breaches.push(format!("{id} has ended at {end} and was asked for at {late:?}"));
        }
    }
    breaches
}

/// When a render is asked for next at the earliest that was asked for at `at`, and `tries` times in a row without news: as
/// docs/polling.md has it, not as the program computes it.
fn earliest(schedule: &Schedule, tries: u32, at: DateTime<Utc>) -> DateTime<Utc> {
    let gap = schedule.after * 2_u32.saturating_pow(tries);
    at + gap.min(schedule.longest).mul_f64(0.8)
}
