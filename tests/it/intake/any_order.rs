//! In any order, with repetitions, and spread over calls and connections, observations lead to the same state.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestError, TestRng, TestRunner};
use renderhook::domain::{Kind, Status};
use renderhook::intake::{self, Observation, RecordRules, Recorded};
use renderhook::runtime::{Tally, Totals};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::runtime::Handle;

use crate::support::observations::{at, connections, history, now, observation, record, record_each};

/// The number of generated sets of observations. Set `PROPTEST_CASES` to try more.
const CASES: u32 = 48;

/// A generated event about the render with this number.
#[derive(Debug, Clone)]
struct GeneratedEvent {
    render: usize,
    action: &'static str,
    /// The payload without the id.
    payload: Value,
    observed_at: i64,
}

impl GeneratedEvent {
    fn observation(&self, prefix: &str) -> Observation {
        let mut payload = self.payload.clone();
        payload["id"] = json!(id(prefix, self.render));
        // Each render either fails or is canceled, because the order of the two matters.
        let kind = ["video", "image", "audio", "video"][self.render];
        let canceled = self.render.is_multiple_of(2);
        if canceled && payload["status"] == "error" {
            payload["status"] = json!("canceled");
        }
        let action = if canceled && self.action == "errored" { "canceled" } else { self.action };
        observation(&format!("{kind}.{action}"), &payload, at(self.observed_at))
    }
}

fn id(prefix: &str, render: usize) -> String {
    format!("{prefix}-{render}")
}

/// A field that may be missing.
fn field(values: impl Into<Vec<Value>>) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(select(values.into()))
}

/// An entry of `downloads`, often without a URL or expiry time. There are few different ones, so that they collide.
fn entry() -> impl Strategy<Value = Value> {
    let url = prop::option::weighted(0.8, (select(vec!["a.mp4", "b.mp4"]), 0..3u8));
    let expires_at = prop::option::weighted(0.6, 0..6i64);
    (url, expires_at).prop_map(|(url, expires_at)| {
        let url = url.map(|(name, signature)| format!("https://files.example/{name}?signature={signature}"));
        json!({"url": url, "expires_at": expires_at.map(at)})
    })
}

fn reported() -> impl Strategy<Value = GeneratedEvent> {
    let fields = (
        field(["draft", "queued", "rendering", "error", "complete", "complete", "archived"].map(Value::from)),
        field([json!("one"), json!("two"), json!("Two"), json!("été"), Value::Null]),
        field([json!(1), json!(5), json!(450), json!("many")]),
        field([Value::Null, json!({"code": "x"}), json!({"code": "x", "message": "m"}), json!("boom")]),
        field([json!(true), json!(false)]),
        field([json!(at(-5)), json!(at(-6)), json!("2024-10-19T07:16:19.027+02:00")]),
        field([json!("FACE_SWAP"), json!("TEXT_TO_VIDEO")]),
    );
    let downloads = prop::option::of(prop::collection::vec(entry(), 0..3));
    let actions = vec!["started", "completed", "completed", "errored", "upscaled"];
    (0..4usize, select(actions), fields, downloads, 0..6i64).prop_map(
        |(render, action, fields, downloads, observed_at)| {
            let (status, name, credits, error, enabled, created_at, project_type) = fields;
            let mut payload = json!({});
            for (field, value) in [
                ("status", status),
                ("name", name),
                ("credits_charged", credits),
                ("error", error),
                ("enabled", enabled),
                ("created_at", created_at),
                ("type", project_type),
                ("downloads", downloads.map(Value::from)),
            ] {
                if let Some(value) = value {
                    payload[field] = value;
                }
            }
            GeneratedEvent { render, action, payload, observed_at }
        },
    )
}

/// Observations, the same observations shuffled with repetitions, and where to split the latter into batches.
#[derive(Debug, Clone)]
struct Case {
    observations: Vec<GeneratedEvent>,
    again: Vec<GeneratedEvent>,
    cuts: Vec<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    (prop::collection::vec(reported(), 2..14), prop::collection::vec(any::<Index>(), 0..8)).prop_flat_map(
        |(observations, more)| {
            let repeated: Vec<_> = more.iter().map(|index| index.get(&observations).clone()).collect();
            let again = [observations.clone(), repeated].concat();
            let cuts = prop::collection::vec(1..5usize, again.len());
            (Just(observations), Just(again).prop_shuffle(), cuts).prop_map(|(observations, again, cuts)| Case {
                observations,
                again,
                cuts,
            })
        },
    )
}

/// Splits `observations` into batches with the lengths `cuts`.
fn batches<'a>(mut observations: &'a [Observation], cuts: &[usize]) -> Vec<&'a [Observation]> {
    let mut batches = Vec::new();
    for &cut in cuts {
        let (batch, rest) = observations.split_at(cut.min(observations.len()));
        batches.push(batch);
        observations = rest;
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// The state of the renders `prefix-0` to `prefix-3` that must not depend on the order, as text.
async fn state(pool: &PgPool, prefix: &str) -> String {
    // Requested polls depend on the order: one may have been requested before the observation that answers it.
    let rows: Vec<(String, Value)> = sqlx::query_as(
        "SELECT r.id, jsonb_build_object(
             'render', to_jsonb(r) - '{updated_at,first_seen_at,last_seen_at,poll_requested,poll_due_at}'::text[],
             'downloads', (
                 SELECT jsonb_agg(
                     to_jsonb(d) - '{updated_at}'::text[] - CASE WHEN url IS NULL THEN 'url_observed_at' ELSE '' END
                     ORDER BY index)
                 FROM downloads AS d WHERE render_id = r.id))
         FROM renders AS r WHERE starts_with(r.id, $1) ORDER BY r.id",
    )
    .bind(format!("{prefix}-"))
    .fetch_all(pool)
    .await
    .unwrap();
    let mut state = String::new();
    for (id, row) in rows {
        writeln!(state, "{id}: {row:#}").unwrap();
    }
    state.replace(prefix, "render")
}

/// Checks that the transitions of each render form a chain of rising ranks that ends with the render's status, and that
/// `recorded`, the results of all calls, contains each of them once.
async fn check_history(pool: &PgPool, prefix: &str, recorded: &[Recorded]) {
    let mut all = 0;
    for render in 0..4 {
        let id = id(prefix, render);
        let history = history(pool, &id).await;
        let mut current: Option<Status> = None;
        for &(from, to) in &history {
            assert_eq!(from, current, "{id}: {history:?}");
            assert_eq!(Status::after_webhook(current, to), Some(to), "{id}: {history:?}");
            current = Some(to);
        }
        let status: Option<Option<String>> = sqlx::query_scalar("SELECT status FROM renders WHERE id = $1")
            .bind(&id)
            .fetch_optional(pool)
            .await
            .unwrap();
        assert_eq!(status.flatten().as_deref(), current.map(Status::as_str), "{id}: {history:?}");
        all += history.len();
    }
    assert_eq!(recorded.iter().filter(|it| it.transition.is_some()).count(), all, "{prefix}");
}

/// Records a case in four ways, which must lead to the same state.
async fn check(pool: &PgPool, pools: &[PgPool], number: usize, case: &Case) {
    let prefix = |way: &str| format!("{way}{number:05}");
    let observations = |reported: &[GeneratedEvent], prefix: &str| {
        reported.iter().map(|reported| reported.observation(prefix)).collect::<Vec<_>>()
    };

    let in_order = prefix("order");
    let recorded = record_each(pool, &observations(&case.observations, &in_order)).await;
    check_history(pool, &in_order, &recorded).await;
    let expected = state(pool, &in_order).await;

    let shuffled = prefix("mixed");
    let recorded = record_each(pool, &observations(&case.again, &shuffled)).await;
    check_history(pool, &shuffled, &recorded).await;
    assert_eq!(state(pool, &shuffled).await, expected, "shuffled");

    let sliced = prefix("batch");
    let mut recorded = Vec::new();
    for batch in batches(&observations(&case.again, &sliced), &case.cuts) {
        recorded.extend(record(pool, batch).await);
    }
    check_history(pool, &sliced, &recorded).await;
    assert_eq!(state(pool, &sliced).await, expected, "in batches");

    let at_once = prefix("atonce");
    let observations = observations(&case.again, &at_once);
    let calls = batches(&observations, &case.cuts).into_iter().zip(pools.iter().cycle());
    let rules = RecordRules::default();
    let recorded = join_all(calls.map(|(batch, pool)| intake::record(pool, now(), batch, &rules))).await;
    let recorded: Vec<_> = recorded.into_iter().flat_map(Result::unwrap).collect();
    check_history(pool, &at_once, &recorded).await;
    assert_eq!(state(pool, &at_once).await, expected, "at once");

    let stored = "SELECT count(*) FROM deliveries WHERE split_part(render_id, '-', 1) = $1";
    let stored: i64 = sqlx::query_scalar(stored).bind(&at_once).fetch_one(pool).await.unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), case.again.len());
}

/// Checks that the running totals equal the counts of rows.
async fn check_tallies(pool: &PgPool) {
    let totals = Totals::read(pool).await.unwrap();
    let count =
        async |statement: &str| -> f64 { sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(pool).await.unwrap() };
    for kind in Kind::ALL {
        for status in Status::ALL.into_iter().map(Some).chain([None]) {
            let is = status.map_or("IS NULL".to_owned(), |status| format!("= '{status}'"));
            let counted =
                count(&format!("SELECT count(*)::float8 FROM renders WHERE kind = '{kind}' AND status {is}")).await;
            assert!((totals.get(Tally::Renders(kind, status)) - counted).abs() < 0.5, "{kind} {status:?}");
        }
        let complete = format!("FROM renders WHERE kind = '{kind}' AND status = 'complete'");
        let charged = count(&format!("SELECT coalesce(sum(credits_charged), 0)::float8 {complete}")).await;
        assert!((totals.get(Tally::Credits(kind)) - charged).abs() < 0.5, "credits for {kind}");
    }
    for (tally, condition) in [
        (Tally::FilesUnsettled, "due_at IS NOT NULL"),
        (Tally::FilesStored, "state = 'stored'"),
        (Tally::FilesFailed, "state = 'failed'"),
    ] {
        let counted = count(&format!("SELECT count(*)::float8 FROM downloads WHERE {condition}")).await;
        assert!((totals.get(tally) - counted).abs() < 0.5, "{tally:?}");
    }
    let archives: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM renders AS r
         WHERE (files_total, files_failed) <> (SELECT count(*), count(*) FILTER (WHERE state = 'failed')
                                               FROM downloads WHERE render_id = r.id)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(archives, 0, "renders with wrong file counts");
}

#[sqlx::test]
async fn observations_in_any_order_end_in_the_same_state(pool: PgPool) {
    let pools = [connections(&pool, 3), connections(&pool, 3)];
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let number = Arc::new(AtomicUsize::new(0));
    let counted = pool.clone();
    let here = Handle::current();
    // On a thread of its own, because proptest does not wait for futures.
    let tried = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm));
        runner.run(&case(), |case| {
            here.block_on(check(&pool, &pools, number.fetch_add(1, Ordering::Relaxed), &case));
            Ok(())
        })
    });
    match tried.await.unwrap() {
        Ok(()) => check_tallies(&counted).await,
        Err(TestError::Fail(why, case)) => panic!("{why}\n{case:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

#[test]
fn the_generated_observations_cover_all_outcomes() {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm));
    let mut statuses = BTreeSet::new();
    let (mut undated, mut without_url, mut several) = (0, 0, 0);
    for _ in 0..CASES {
        let case = case().new_tree(&mut runner).unwrap().current();
        for reported in &case.observations {
            statuses.extend(reported.payload["status"].as_str().map(str::to_owned));
            let entries = reported.payload["downloads"].as_array().map(Vec::as_slice).unwrap_or_default();
            undated += entries.iter().filter(|entry| entry["expires_at"].is_null()).count();
            without_url += entries.iter().filter(|entry| entry["url"].is_null()).count();
            several += usize::from(entries.len() > 1);
        }
    }
    assert_eq!(statuses.len(), 6, "{statuses:?}");
    assert!(undated > 20 && without_url > 10 && several > 20, "{undated} {without_url} {several}");
}
