//! However words are ordered, repeated or spread over calls and connections, the renders end in the same state.

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
use renderhook::feed::PostedTypes;
use renderhook::intake::record::{self, Observation, Recorded};
use renderhook::runtime::{Tally, Totals};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::runtime::Handle;

use crate::support::words::{at, connections, history, now, record, record_each, word};

/// How many sets of words are tried. More can be had through `PROPTEST_CASES`.
const CASES: u32 = 48;

/// One thing that is said of the render with this number.
#[derive(Debug, Clone)]
struct Saying {
    render: usize,
    action: &'static str,
    /// Everything of the payload but the id.
    payload: Value,
    said_at: i64,
}

impl Saying {
    fn word(&self, prefix: &str) -> Observation {
        let mut payload = self.payload.clone();
        payload["id"] = json!(id(prefix, self.render));
        // Of one render, either a failure or a cancelation is told: which of the two came first is no matter of taste.
        let kind = ["video", "image", "audio", "video"][self.render];
        let canceled = self.render.is_multiple_of(2);
        if canceled && payload["status"] == "error" {
            payload["status"] = json!("canceled");
        }
        let action = if canceled && self.action == "errored" { "canceled" } else { self.action };
        word(&format!("{kind}.{action}"), &payload, at(self.said_at))
    }
}

fn id(prefix: &str, render: usize) -> String {
    format!("{prefix}-{render}")
}

/// A field that may not be mentioned.
fn field(values: impl Into<Vec<Value>>) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(select(values.into()))
}

/// An entry of `downloads`: often without a URL or without a time, and few of each, so that they meet.
fn entry() -> impl Strategy<Value = Value> {
    let url = prop::option::weighted(0.8, (select(vec!["a.mp4", "b.mp4"]), 0..3u8));
    let expires_at = prop::option::weighted(0.6, 0..6i64);
    (url, expires_at).prop_map(|(url, expires_at)| {
        let url = url.map(|(name, signature)| format!("https://files.example/{name}?signature={signature}"));
        json!({"url": url, "expires_at": expires_at.map(at)})
    })
}

fn said() -> impl Strategy<Value = Saying> {
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
    (0..4usize, select(actions), fields, downloads, 0..6i64).prop_map(|(render, action, fields, downloads, said_at)| {
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
        Saying { render, action, payload, said_at }
    })
}

/// A set of words, another order of them in which some come again, and where that order is cut into slices.
#[derive(Debug, Clone)]
struct Case {
    words: Vec<Saying>,
    again: Vec<Saying>,
    cuts: Vec<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    (prop::collection::vec(said(), 2..14), prop::collection::vec(any::<Index>(), 0..8)).prop_flat_map(
        |(words, more)| {
            let repeated: Vec<_> = more.iter().map(|index| index.get(&words).clone()).collect();
            let again = [words.clone(), repeated].concat();
            let cuts = prop::collection::vec(1..5usize, again.len());
            (Just(words), Just(again).prop_shuffle(), cuts).prop_map(|(words, again, cuts)| Case { words, again, cuts })
        },
    )
}

/// Cuts `words` into slices of the lengths `cuts`.
fn slices<'a>(mut words: &'a [Observation], cuts: &[usize]) -> Vec<&'a [Observation]> {
    let mut slices = Vec::new();
    for &cut in cuts {
        let (slice, rest) = words.split_at(cut.min(words.len()));
        slices.push(slice);
        words = rest;
    }
    slices.retain(|slice| !slice.is_empty());
    slices
}

/// Everything of the renders `prefix-0` to `prefix-3` that must not depend on the order, as one text.
async fn state(pool: &PgPool, prefix: &str) -> String {
    // What is to be asked is no state of the render: it may have been wanted before the word that answers it.
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

/// The transitions of each render must be a chain that starts untold, only rises and ends at the render's status; and
/// each was told once of a word: `recorded` is what all the calls together told.
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

/// The four ways of recording a case must end in one state.
async fn check(pool: &PgPool, pools: &[PgPool], number: usize, case: &Case) {
    let prefix = |way: &str| format!("{way}{number:05}");
    let words = |said: &[Saying], prefix: &str| said.iter().map(|said| said.word(prefix)).collect::<Vec<_>>();

    let in_order = prefix("order");
    let recorded = record_each(pool, &words(&case.words, &in_order)).await;
    check_history(pool, &in_order, &recorded).await;
    let expected = state(pool, &in_order).await;

    let shuffled = prefix("mixed");
    let recorded = record_each(pool, &words(&case.again, &shuffled)).await;
    check_history(pool, &shuffled, &recorded).await;
    assert_eq!(state(pool, &shuffled).await, expected, "shuffled");

    let sliced = prefix("slice");
    let mut recorded = Vec::new();
    for slice in slices(&words(&case.again, &sliced), &case.cuts) {
        recorded.extend(record(pool, slice).await);
    }
    check_history(pool, &sliced, &recorded).await;
    assert_eq!(state(pool, &sliced).await, expected, "in slices");

    let at_once = prefix("atonce");
    let words = words(&case.again, &at_once);
    let calls = slices(&words, &case.cuts).into_iter().zip(pools.iter().cycle());
    let recorded: Vec<Recorded> =
        join_all(calls.map(|(slice, pool)| record::record(pool, now(), slice, PostedTypes::default())))
            .await
            .into_iter()
            .flat_map(Result::unwrap)
            .collect();
    check_history(pool, &at_once, &recorded).await;
    assert_eq!(state(pool, &at_once).await, expected, "at once");

    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE split_part(render_id, '-', 1) = $1")
        .bind(&at_once)
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(usize::try_from(kept).unwrap(), case.again.len());
}

/// The totals for /metrics are what counting the rows would give.
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
    assert_eq!(archives, 0, "renders whose counts of files are wrong");
}

#[sqlx::test]
async fn any_order_of_any_words_ends_in_the_same_state(pool: PgPool) {
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
fn the_sets_of_words_reach_what_they_are_to_reach() {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm));
    let mut statuses = BTreeSet::new();
    let (mut undated, mut without_url, mut several) = (0, 0, 0);
    for _ in 0..CASES {
        let case = case().new_tree(&mut runner).unwrap().current();
        for said in &case.words {
            statuses.extend(said.payload["status"].as_str().map(str::to_owned));
            let entries = said.payload["downloads"].as_array().map(Vec::as_slice).unwrap_or_default();
            undated += entries.iter().filter(|entry| entry["expires_at"].is_null()).count();
            without_url += entries.iter().filter(|entry| entry["url"].is_null()).count();
            several += usize::from(entries.len() > 1);
        }
    }
    assert_eq!(statuses.len(), 6, "{statuses:?}");
    assert!(undated > 20 && without_url > 10 && several > 20, "{undated} {without_url} {several}");
}
