//! The rule without a database: the order, repetitions, and batches of observations do not matter.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::decision::{CreditChange, Transition};
use super::*;
use crate::domain::{DownloadState, Event, ExternalIdOrigin, Payload, Status};
use crate::intake::record::{Recorded, StatusChange};

/// The number of generated cases per property.
const CASES: u32 = 10_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn webhook(event_type: &str, payload: &Value, observed_at: DateTime<Utc>) -> Observation {
    let body = json!({"type": event_type, "payload": payload}).to_string();
    Observation::event(Event::parse(body.as_bytes()).unwrap(), observed_at)
}

fn poll(payload: &Value, called_at: DateTime<Utc>) -> Observation {
    Observation::poll(Kind::Image, Payload::from_details(payload.to_string().as_bytes()).unwrap(), called_at)
}

/// A stored render, its downloads, and all results of recording.
#[derive(Debug, Clone, Default)]
struct StoredState {
    rules: RecordRules,
    render: Option<StoredRender>,
    downloads: BTreeMap<i32, Download>,
    transitions: Vec<Transition>,
    credits: Vec<CreditChange>,
    recorded: Vec<Recorded>,
}

impl StoredState {
    fn record(&mut self, batch: &[&Observation]) -> Decision {
        let decision = decide(self.render.as_ref(), self.downloads.clone(), batch, &self.rules, at(1000));
        self.render = Some(decision.render.clone());
        self.downloads.extend(decision.downloads.clone());
        self.transitions.extend(decision.transitions.clone());
        self.credits.extend(decision.credits.clone());
        self.recorded.extend(decision.recorded.clone());
        decision
    }

    fn after(batches: &[Vec<&Observation>]) -> Self {
        let mut store = Self { rules: rules(), ..Self::default() };
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            store.record(batch);
        }
        store
    }

    /// The state that must not depend on the order.
    fn state(&self) -> (StoredRender, BTreeMap<i32, Download>) {
        let mut render = self.render.clone().unwrap();
        // When to poll depends on the batches.
        render.shortage_confirmed = false;
        render.polling = Polling { requested: false, due: PollDue::AfterSilence, attempts: 0, last_seen_at: at(0) };
        let mut downloads = self.downloads.clone();
        for download in downloads.values_mut().filter(|it| it.source.url.is_none()) {
            download.source.observed_at = at(0);
        }
        (render, downloads)
    }

    /// Checks that the transitions form a chain of rising ranks, with each status once, that ends with the render's status.
    fn check_history(&self) {
        let mut current = None;
        let mut entered = BTreeSet::new();
        for Transition { change, .. } in &self.transitions {
            assert_eq!(change.from, current);
            assert_eq!(Status::after_webhook(current, change.to), Some(change.to));
            assert!(entered.insert(change.to.as_str()), "{} was entered twice", change.to);
            current = Some(change.to);
        }
        assert_eq!(self.render.as_ref().unwrap().status, current);
        assert_eq!(self.recorded.iter().filter(|it| it.transition.is_some()).count(), self.transitions.len());
        let counted = |state| i32::try_from(self.downloads.values().filter(|it| it.state == state).count()).unwrap();
        let files = self.render.as_ref().unwrap().files;
        assert_eq!(
            (files.total, files.failed),
            (i32::try_from(self.downloads.len()).unwrap(), counted(DownloadState::Failed),)
        );
        assert_eq!(
            self.render.as_ref().unwrap().fields.credits_charged.as_ref().map(|it| it.value),
            self.credits.last().map(|it| it.value),
        );
    }
}

fn rules() -> RecordRules {
    RecordRules { external_ids: Some(r"^order-(\d+)".parse().unwrap()), ..RecordRules::default() }
}

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

fn observation() -> impl Strategy<Value = Observation> {
    let fields = (
        field(["draft", "queued", "rendering", "error", "complete", "complete", "archived"].map(Value::from)),
        field([json!("order-1"), json!("order-2"), json!("été"), Value::Null]),
        field([json!(1), json!(5), json!(450), json!("many")]),
        field([Value::Null, json!({"code": "x"}), json!({"code": "unknown_error", "message": "m"}), json!("boom")]),
        field([json!(true), json!(false)]),
        field([json!(at(-5)), json!("2024-10-19T07:16:19.027123999+02:00")]),
        field([json!("FACE_SWAP"), json!("TEXT_TO_VIDEO")]),
        field([json!(-1), json!(512), json!(29.97), json!("wide")]),
        field([json!(1), json!(2), json!(4), Value::Null]),
    );
    let downloads = prop::option::of(prop::collection::vec(entry(), 0..3));
    let actions = vec!["started", "completed", "completed", "errored", "upscaled", "poll"];
    (select(actions), fields, downloads, 0..6i64).prop_map(|(action, fields, downloads, seconds)| {
        let (status, name, credits, error, enabled, created_at, project_type, measure, image_count) = fields;
        let mut payload = json!({"id": "x"});
        for (field, value) in [
            ("status", status),
            ("name", name),
            ("credits_charged", credits),
            ("error", error),
            ("enabled", enabled),
            ("created_at", created_at),
            ("type", project_type),
            ("width", measure.clone()),
            ("fps", measure),
            ("image_count", image_count),
            ("downloads", downloads.map(Value::from)),
        ] {
            if let Some(value) = value {
                payload[field] = value;
            }
        }
        match action {
            "poll" => poll(&payload, at(seconds)),
            action => webhook(&format!("image.{action}"), &payload, at(seconds)),
        }
    })
}

/// Observations, the same observations shuffled with repetitions, and where to split the latter into batches.
#[derive(Debug, Clone)]
struct Case {
    observations: Vec<Observation>,
    again: Vec<Observation>,
    cuts: Vec<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    (prop::collection::vec(observation(), 1..10), prop::collection::vec(any::<Index>(), 0..6)).prop_flat_map(
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

fn batches<'a>(observations: &'a [Observation], cuts: &[usize]) -> Vec<Vec<&'a Observation>> {
    let mut rest: Vec<_> = observations.iter().collect();
    let mut batches = Vec::new();
    for &cut in cuts {
        let tail = rest.split_off(cut.min(rest.len()));
        batches.push(std::mem::replace(&mut rest, tail));
    }
    batches.push(rest);
    batches
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_repetitions_and_batches_do_not_change_the_final_state(case in case()) {
        let in_order = StoredState::after(&batches(&case.observations, &vec![1; case.observations.len()]));
        in_order.check_history();
        let one_by_one = StoredState::after(&batches(&case.again, &vec![1; case.again.len()]));
        one_by_one.check_history();
        prop_assert_eq!(one_by_one.state(), in_order.state(), "in another order");
        let batched = StoredState::after(&batches(&case.again, &case.cuts));
        batched.check_history();
        prop_assert_eq!(batched.state(), in_order.state(), "in batches");
        let at_once = StoredState::after(&[case.again.iter().collect()]);
        at_once.check_history();
        prop_assert_eq!(at_once.state(), in_order.state(), "in one batch");
    }

    #[test]
    fn recording_the_same_observations_again_changes_nothing(case in case()) {
        let mut store = StoredState::after(&[case.observations.iter().collect()]);
        let before = store.state();
        let again: Vec<_> = case.observations.iter().collect();
        let decision = store.record(&again);
        prop_assert_eq!(store.state(), before);
        prop_assert!(!decision.wakes_workers);
        prop_assert!(decision.transitions.is_empty() && decision.credits.is_empty() && decision.downloads.is_empty());
        prop_assert!(decision.recorded.iter().all(|it| it.transition.is_none() && !it.changed && !it.is_first_unknown_error));
    }
}

fn of(status: &str) -> Value {
    json!({"id": "x", "status": status})
}

#[test]
fn the_first_of_error_and_canceled_stays_until_a_poll_corrects_it_once() {
    let (errored, canceled) =
        (webhook("video.errored", &of("error"), at(1)), webhook("video.off", &of("canceled"), at(2)));
    for (first, second) in [(&errored, &canceled), (&canceled, &errored)] {
        let mut store = StoredState::default();
        store.record(&[first]);
        let contradicted = store.record(&[second]);
        assert_eq!(
            (contradicted.recorded[0].transition, contradicted.recorded[0].previous_failure),
            (None, first.status)
        );
        assert!(contradicted.wakes_reconciler && contradicted.render.polling.requested);
        let corrected = store.record(&[&poll(&of(second.status.unwrap().as_str()), at(3))]);
        assert_eq!(
            corrected.recorded[0].transition,
            Some(StatusChange { from: first.status, to: second.status.unwrap() })
        );
        let again = store.record(&[&poll(&of(first.status.unwrap().as_str()), at(4))]);
        assert_eq!((again.recorded[0].transition, again.render.status), (None, second.status), "once");
    }
}

#[test]
fn a_limited_number_of_repetitions_is_stored_but_every_new_event() {
    for outcome in [RecordOutcome::Duplicate, RecordOutcome::Late, RecordOutcome::Unknown] {
        assert!(
            stores_delivery(outcome, MAX_STORED_REPETITIONS - 1) && !stores_delivery(outcome, MAX_STORED_REPETITIONS),
            "{outcome:?}"
        );
    }
    assert!(stores_delivery(RecordOutcome::Recorded, MAX_STORED_REPETITIONS));
}

#[test]
fn a_new_url_restarts_a_failed_download_but_not_a_stored_one() {
    let completed =
        |url: &str, seconds| webhook("video.completed", &json!({"id": "x", "downloads": [{"url": url}]}), at(seconds));
    let mut store = StoredState::default();
    store.record(&[&completed("https://files.example/a.mp4", 1)]);
    for (state, next, due) in [
        (DownloadState::Pending, DownloadState::Pending, true),
        (DownloadState::Downloading, DownloadState::Downloading, false),
        (DownloadState::Failed, DownloadState::Pending, true),
    ] {
        let mut store = store.clone();
        let download = store.downloads.get_mut(&0).unwrap();
        (download.state, download.attempts, download.first_attempt_at) = (state, 7, Some(at(5)));
        (download.key, download.due_at) = ("fixed".to_owned(), None);
        let fresh = &store.record(&[&completed("https://files.example/b.mp4", 2)]).downloads[&0];
        assert_eq!((fresh.state, fresh.due_at.is_some(), fresh.key.as_str()), (next, due, "fixed"), "{state:?}");
        assert_eq!(fresh.attempts == 0, state == DownloadState::Failed, "{state:?}");
    }
    store.downloads.get_mut(&0).unwrap().state = DownloadState::Stored;
    assert!(store.record(&[&completed("https://files.example/b.mp4", 2)]).downloads.is_empty());
}

fn image(count: i64, files: usize) -> Value {
    let downloads: Vec<_> =
        (0..files).map(|index| json!({"url": format!("https://files.example/{index}.png")})).collect();
    json!({"id": "x", "status": "complete", "image_count": count, "downloads": downloads})
}

#[test]
fn magic_hour_is_asked_once_for_the_files_that_are_missing() {
    let mut store = StoredState::default();
    let short = store.record(&[&webhook("image.completed", &image(3, 2), at(1))]);
    assert!(short.wakes_reconciler && short.render.polling.requested);
    assert_eq!((short.render.files.missing, short.render.shortage_confirmed), (1, false));
    let again = store.clone().record(&[&webhook("image.completed", &image(3, 2), at(2))]);
    assert_eq!((again.render.shortage_confirmed, again.recorded[0].missing_files), (false, 0));
    let more = store.clone().record(&[&poll(&image(3, 3), at(3))]);
    assert_eq!((more.render.files.missing, more.render.shortage_confirmed), (0, false));
    let none = store.record(&[&poll(&image(3, 2), at(3))]);
    assert_eq!((none.render.shortage_confirmed, none.recorded[0].missing_files), (true, 1));
    let known = store.record(&[&webhook("image.completed", &image(3, 2), at(4))]);
    assert_eq!((known.recorded[0].missing_files, known.render.shortage_confirmed), (0, true), "it is known");
    let late = store.record(&[&webhook("image.completed", &image(3, 3), at(5))]);
    assert_eq!((late.render.files.missing, late.render.shortage_confirmed), (0, false));
}

#[test]
fn without_an_api_key_a_shortage_is_known_at_once() {
    let rules = RecordRules { webhooks_only: true, ..RecordRules::default() };
    let mut store = StoredState { rules, ..StoredState::default() };
    let short = store.record(&[&webhook("image.completed", &image(3, 2), at(1))]);
    assert_eq!((short.render.shortage_confirmed, short.recorded[0].missing_files), (true, 1));
}

#[test]
fn the_external_id_follows_the_newest_name_unless_the_application_has_set_it() {
    let named = |name: Value, seconds| webhook("video.started", &json!({"id": "x", "name": name}), at(seconds));
    let mut store = StoredState { rules: rules(), ..StoredState::default() };
    for (name, seconds, expected) in [
        (json!("order-17"), 2, Some("17")),
        (json!("order-16"), 1, Some("17")),
        (json!("order-18 again"), 3, Some("18")),
        (json!("a clip"), 4, None),
        (json!("order-19"), 5, Some("19")),
        (Value::Null, 6, None),
    ] {
        let decision = store.record(&[&named(name.clone(), seconds)]);
        assert_eq!(decision.render.external_id.as_deref(), expected, "{name}");
        assert_eq!(decision.render.external_id_origin.is_some(), expected.is_some(), "{name}");
    }
    for (external_id, origin) in [
        (Some("mine"), Some(ExternalIdOrigin::Application)),
        (None, Some(ExternalIdOrigin::Application)),
        (Some("older"), None),
    ] {
        let mut store = store.clone();
        let render = store.render.as_mut().unwrap();
        (render.external_id, render.external_id_origin) = (external_id.map(str::to_owned), origin);
        let decision = store.record(&[&named(json!("order-20"), 7)]);
        assert_eq!(decision.render.external_id.as_deref(), external_id, "{origin:?}");
    }
    let long = named(json!(format!("order-{}", "1".repeat(300))), 8);
    let rejected = store.record(&[&long]);
    assert!(rejected.render.external_id.is_none() && rejected.recorded[0].rejected_external_id.is_some());
}
