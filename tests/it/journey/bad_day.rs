//! Three hundred renders on a day when much fails: webhooks are lost, repeated and reordered, the API is down, and the service
//! is killed once and stopped once. In the end, every answer is right.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::domain::{Kind, Status};
use renderhook::runtime::Clock;
use renderhook::upstream::Schedule;
use renderhook_dev::standin::{
    Fault, Lifecycle, Network, OutputFile, RenderPlan, Retries, Settings, Stage, StandIn, WebhookAttempt,
    WebhookOutcome,
};
use reqwest::{Client, Method, StatusCode};
use rustix::process::Signal;
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tempfile::TempDir;
use url::Url;

use crate::support::app::{SECRET, TOKEN};
use crate::support::harness::noise;
use crate::support::polls::{self, PollRules};
use crate::support::process::{Service, database_url, serve};
use crate::support::rows::count;
use crate::support::wait::{until, until_no_differences};
use crate::support::{App, Options};

const RENDERS: usize = 300;
const SCHEDULE: Schedule = Schedule { initial_delay: Duration::from_secs(1), max_interval: Duration::from_secs(5) };

/// One row if no poll is in progress, and none else.
const NO_POLL_IN_PROGRESS: &str = "(SELECT) AS one WHERE NOT EXISTS
    (SELECT FROM renders WHERE poll_claimed_until IS NOT NULL)";

/// Which webhooks are lost, which come twice, and how late.
fn network() -> Network {
    Network::unreliable(4, Duration::from_millis(1500))
}

/// Each kind has every possible end, after 3 s to 8 s, or twice that if it is canceled, so that it is polled before.
fn plan(number: usize) -> RenderPlan {
    let dice = Sha256::digest(format!("render {number}"));
    let within = |millis: Range<i64>, die: u8| {
        TimeDelta::milliseconds(millis.start + (millis.end - millis.start) * i64::from(die) / 255)
    };
    // The last ones begin late, so that webhooks are still to come when a slow machine gets to the second stop.
    let late = if number >= RENDERS - 50 { TimeDelta::seconds(20) } else { TimeDelta::zero() };
    let (starts, ends) = (late + within(500..2500, dice[0]), late + within(3000..8000, dice[1]));
    let queued = Lifecycle::queued();
    let rendering = queued.clone().then(starts, Stage::Rendering);
    let life = match number % 10 {
        0 => queued.then(ends * 2, Stage::Canceled),
        1 => rendering.then(ends * 2, Stage::Canceled),
        2 => queued.then(ends, Stage::error("insufficient_credits")),
        3 => rendering.then(ends, Stage::error("no_source_face")),
        _ => rendering.then(ends, Stage::Complete),
    };
    let kind = Kind::ALL[number % 3];
    let mut plan = RenderPlan::new(kind, format!("render-{number}"), life);
    plan.name = Some(format!("The {number}th"));
    plan.sends_started = kind != Kind::Image || number.is_multiple_of(2);
    plan.estimated_credits = i64::from(dice[2]) + 1;
    plan.final_credits = i64::from(dice[3]);
    for (file, size) in (0..=number % 3).zip([usize::from(dice[4]) * 50, usize::from(dice[5]), 0]) {
        let bytes = noise(size, number.wrapping_mul(8) as u64 + file as u64);
        plan = plan.with(OutputFile::new(&format!("output-{file}.bin"), bytes, "application/octet-stream"));
    }
    plan
}

fn end(plan: &RenderPlan) -> &Stage {
    plan.lifecycle.stages().next_back().unwrap()
}

fn is_complete(plan: &RenderPlan) -> bool {
    *end(plan) == Stage::Complete
}

/// How many copies of its webhooks are sent.
fn copies(plan: &RenderPlan) -> usize {
    plan.lifecycle
        .stages()
        .filter_map(|stage| plan.webhook(stage))
        .map(|event| network().copies(&event, &plan.id).len())
        .sum()
}

/// Everything that runs on that day.
struct Day {
    pool: PgPool,
    magic_hour: StandIn,
    plans: Vec<RenderPlan>,
    folder: TempDir,
    flags: Vec<String>,
    starts: Vec<DateTime<Utc>>,
    /// The URL at which the application calls the service.
    service: Arc<Mutex<Url>>,
}

impl Day {
    async fn begin(pool: &PgPool) -> Self {
        let clock = Clock::system();
        let mut settings = Settings::new(clock, SecretString::from(SECRET));
        settings.retries = Retries { unit: Duration::from_millis(100), ..Retries::default() };
        let magic_hour = StandIn::start(settings).await.unwrap();
        magic_hour.webhooks.set_network(network());
        let folder = tempfile::tempdir().unwrap();
        let mut flags = magic_hour.serve_flags();
        flags.extend([
            format!("--storage-url={}", Url::from_file_path(folder.path()).unwrap()),
            format!("--reconcile-after={}s", SCHEDULE.initial_delay.as_secs()),
            format!("--reconcile-max-interval={}s", SCHEDULE.max_interval.as_secs()),
            "--reconcile-rate=200".to_owned(),
            "--download-lease=2s".to_owned(),
        ]);
        let nowhere = Url::parse("http://127.0.0.1:1/").unwrap();
        Self {
            pool: pool.clone(),
            magic_hour,
            plans: (0..RENDERS).map(plan).collect(),
            folder,
            flags,
            starts: Vec::new(),
            service: Arc::new(Mutex::new(nowhere)),
        }
    }

    /// The service as a process of its own.
    async fn process(&mut self) -> Service {
        self.starts.push(Clock::system().now());
        let mut command = serve(&database_url(&self.pool), &self.folder);
        command.args(&self.flags);
        let service = Service::start(command).await;
        self.set_url(&service.base);
        service
    }

    /// The service in this process.
    async fn app(&mut self) -> App {
        self.starts.push(Clock::system().now());
        let app = App::start_with(&self.pool, Options { flags: self.flags.clone(), ..Options::default() }).await;
        self.set_url(&app.base);
        app
    }

    fn set_url(&self, base: &Url) {
        base.clone_into(&mut self.service.lock().unwrap());
        self.magic_hour.webhooks.set_receiver(Some(base.join("webhook").unwrap()));
    }

    /// Starts all renders. An application announces every other one, and those that no webhook reports, and retries until it
    /// succeeds.
    fn start_renders(&self) -> tokio::task::JoinHandle<()> {
        for plan in &self.plans {
            self.magic_hour.start_render(plan.clone()).unwrap();
        }
        let announced = |(number, plan): &(usize, &RenderPlan)| number % 2 == 0 || copies(plan) == 0;
        let announced = self.plans.iter().enumerate().filter(announced);
        let announced: Vec<_> = announced.map(|(_, plan)| (plan.id.clone(), json!({"kind": plan.kind}))).collect();
        let (service, client) = (self.service.clone(), Client::builder().no_proxy().build().unwrap());
        tokio::spawn(async move {
            for (id, body) in announced {
                until(&format!("{id} to be tracked"), || async {
                    let url = service.lock().unwrap().join(&format!("renders/{id}")).unwrap();
                    let answer = client.put(url).bearer_auth(TOKEN).json(&body).send().await.ok()?;
                    answer.status().is_success().then_some(())
                })
                .await;
            }
        })
    }

    /// Waits until at least this number of rows meet the condition.
    async fn rows(&self, least: i64, condition: &str) {
        until(condition, || async { (count(&self.pool, condition).await >= least).then_some(()) }).await;
    }

    /// The number of failed calls.
    fn failed_calls(&self) -> usize {
        let calls = self.magic_hour.call_log.calls();
        calls.iter().filter(|call| call.status.is_none_or(|status| status != StatusCode::OK)).count()
    }

    async fn wait_for_failed_call(&self) {
        let before = self.failed_calls();
        until("a call to fail", || async { (self.failed_calls() > before).then_some(()) }).await;
    }

    /// Waits until a webhook is not answered.
    async fn wait_for_missed_webhook(&self) {
        let unanswered = |sent: &WebhookAttempt| matches!(sent.outcome, WebhookOutcome::Unanswered(_));
        let count = || self.magic_hour.call_log.webhooks().iter().filter(|sent| unanswered(sent)).count();
        let before = count();
        until("a webhook that nobody answers", || async { (count() > before).then_some(()) }).await;
    }

    /// Describes what differs from the planned end.
    async fn differences(&self) -> Vec<String> {
        let rows: Vec<(String, Option<String>, i64)> = sqlx::query_as(
            "SELECT id, status, (SELECT count(*) FROM downloads WHERE render_id = id AND state = 'stored') FROM renders",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let rows: HashMap<_, _> = rows.into_iter().map(|(id, status, stored)| (id, (status, stored))).collect();
        let mut accepted = HashMap::<_, usize>::new();
        for sent in self.magic_hour.call_log.webhooks().into_iter().filter(WebhookAttempt::is_accepted) {
            *accepted.entry(sent.id).or_default() += 1;
        }
        let mut differences = Vec::new();
        for plan in &self.plans {
            let files = if is_complete(plan) { i64::try_from(plan.files.len()).unwrap() } else { 0 };
            let (actual, expected) = (rows.get(&plan.id), (Some(end(plan).status().to_string()), files));
            if actual != Some(&expected) {
                differences.push(format!("{}: {actual:?} instead of {expected:?}", plan.id));
            }
            let accepted = accepted.get(&plan.id).copied().unwrap_or_default();
            if accepted != copies(plan) {
                differences.push(format!("{}: {accepted} of {} webhooks are accepted", plan.id, copies(plan)));
            }
        }
        differences
    }
}

/// Describes what differs between the answer about a render and its plan.
struct Comparison<'a> {
    plan: &'a RenderPlan,
    render: &'a Value,
    differences: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn of(plan: &'a RenderPlan, render: &'a Value, folder: &Path) -> Vec<String> {
        let mut comparison = Self { plan, render, differences: Vec::new() };
        comparison.compare_fields();
        comparison.compare_files(folder);
        comparison.compare_credits();
        comparison.compare_transitions();
        comparison.differences
    }

    fn expect(&mut self, what: &str, actual: &Value, expected: &Value) {
        if actual != expected {
            self.differences.push(format!("{}: {what} is {actual} instead of {expected}", self.plan.id));
        }
    }

    fn compare_fields(&mut self) {
        let Self { plan, render, .. } = *self;
        let (end, complete) = (end(plan), is_complete(plan));
        let error = match end {
            Stage::Error { code, message } => json!({"code": code, "message": message}),
            _ => Value::Null,
        };
        for (field, expected) in [
            ("kind", json!(plan.kind)),
            ("status", json!(end.status())),
            ("name", json!(plan.name)),
            ("deleted", json!(false)),
            ("credits_charged", json!(if complete { plan.final_credits } else { 0 })),
            ("error", error),
            ("archive", json!(if complete { "stored" } else { "none" })),
        ] {
            self.expect(field, &render[field], &expected);
        }
    }

    fn compare_files(&mut self, folder: &Path) {
        let Self { plan, render, .. } = *self;
        let files = if is_complete(plan) { &plan.files[..] } else { &[] };
        let downloads = render["downloads"].as_array().unwrap();
        self.expect("the number of files", &json!(downloads.len()), &json!(files.len()));
        for (file, download) in files.iter().zip(downloads) {
            self.expect("a hash", &download["sha256"], &json!(hex::encode(Sha256::digest(&file.bytes))));
            let stored = std::fs::read(folder.join(download["object"]["key"].as_str().unwrap()));
            self.expect(
                "whether a file is stored",
                &json!(stored.is_ok_and(|stored| stored == file.bytes)),
                &json!(true),
            );
        }
    }

    /// Each figure once: the estimate, if it was reported, then the price or the refund.
    fn compare_credits(&mut self) {
        let render = self.render;
        let figures: Vec<_> = render["credits"].as_array().unwrap().iter().map(|figure| &figure["value"]).collect();
        let (estimate, last) = (json!(self.plan.estimated_credits), &render["credits_charged"]);
        let each_once = figures == [last] || figures == [&estimate, last];
        self.expect("whether each figure is there once", &json!(each_once), &json!(true));
    }

    /// Each transition once: from one stage to a later one.
    fn compare_transitions(&mut self) {
        let Self { plan, render, .. } = *self;
        let mut before = (Value::Null, None);
        for transition in render["transitions"].as_array().unwrap() {
            self.expect("the status before a transition", &transition["from"], &before.0);
            let to: Option<Status> = transition["to"].as_str().and_then(|to| to.parse().ok());
            let rank = to.map(Status::rank);
            self.expect("whether the rank rises", &json!(rank > before.1), &json!(true));
            let is_planned = plan.lifecycle.stages().any(|stage| Some(stage.status()) == to);
            self.expect("whether the status is planned", &json!(is_planned), &json!(true));
            if to == Some(Status::Canceled) || to == Some(Status::Queued) {
                self.expect("the source of what no webhook reports", &transition["source"], &json!("poll"));
            }
            before = (transition["to"].clone(), rank);
        }
        self.expect("the last transition", &before.0, &json!(end(plan).status()));
    }
}

#[sqlx::test]
async fn three_hundred_renders_survive_a_bad_day_with_a_correct_state(pool: PgPool) {
    polls::record_polls(&pool).await;
    let mut day = Day::begin(&pool).await;
    let mut process = day.process().await;
    let application = day.start_renders();
    day.rows(40, "renders WHERE status = 'rendering'").await;

    // The API goes down, and the service with it.
    day.magic_hour.faults.inject_always(Fault::CloseConnection);
    day.wait_for_failed_call().await;
    // Not in the middle of a poll: its claim would outlast the test by far.
    day.rows(1, "upstream_accounts WHERE paused_until > now()").await;
    day.rows(1, NO_POLL_IN_PROGRESS).await;
    process.signal(Signal::KILL);
    process.ended().await;
    day.wait_for_missed_webhook().await;

    // The API asks the next process to wait. It is stopped in the middle of its downloads.
    day.magic_hour.fail_next([(429, Some(1))]);
    let app = day.app().await;
    day.wait_for_failed_call().await;
    day.rows(20, "downloads WHERE state = 'stored'").await;
    app.stop().await.unwrap();
    day.wait_for_missed_webhook().await;

    day.magic_hour.faults.clear();
    let app = day.app().await;
    application.await.unwrap();

    until_no_differences(|| day.differences()).await;
    let mut wrong = Vec::new();
    for plan in &day.plans {
        wrong.extend(Comparison::of(plan, &app.render(&plan.id).await, day.folder.path()));
    }
    wrong.extend(lost(&day).await);
    wrong.extend(early_polls(&day).await);
    wrong.extend(unexplained_calls(&day).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    app.stop().await.unwrap();
}

/// The events that were answered with 200 and are not stored.
async fn lost(day: &Day) -> Vec<String> {
    let stored: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT render_id, event_type, count(*) FROM deliveries GROUP BY render_id, event_type")
            .fetch_all(&day.pool)
            .await
            .unwrap();
    let stored: HashMap<_, _> = stored.into_iter().map(|(id, event_type, count)| ((id, event_type), count)).collect();
    let sent = day.magic_hour.call_log.webhooks();
    let mut accepted = HashMap::<_, i64>::new();
    for sent in sent.iter().filter(|sent| sent.is_accepted()) {
        *accepted.entry((sent.id.clone(), sent.event_type.as_str().to_owned())).or_default() += 1;
    }
    // More may be stored than were accepted, because an answer may have been lost.
    let lost =
        accepted.into_iter().filter(|(event, accepted)| stored.get(event).is_none_or(|stored| stored < accepted));
    lost.map(|(event, accepted)| format!("{event:?} was accepted {accepted} times and is stored less often")).collect()
}

/// Polls that came too early.
async fn early_polls(day: &Day) -> Vec<String> {
    let calls = day.magic_hour.call_log.calls();
    polls::violations(&day.pool, &PollRules { schedule: &SCHEDULE, starts: &day.starts, calls: &calls }).await
}

/// The calls without a poll, and more calls to the failing API than the pauses allow.
async fn unexplained_calls(day: &Day) -> Vec<String> {
    let polls = polls::all(&day.pool).await;
    let mut polled = HashMap::<_, usize>::new();
    for poll in &polls {
        *polled.entry(poll.render_id.as_str()).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for plan in &day.plans {
        let calls = day.magic_hour.call_count(&Method::GET, &plan.id);
        let polled = polled.get(plan.id.as_str()).copied().unwrap_or_default();
        if calls > polled {
            wrong.push(format!("{} was requested {calls} times and polled {polled} times", plan.id));
        }
    }
    // A process makes at most 16 polls at once before it notices a failure, then pauses for at least 10 s.
    let calls = day.magic_hour.call_log.calls();
    let failed: Vec<_> = polls.iter().filter(|poll| poll.failed(&calls)).map(|poll| poll.at).collect();
    let mut pauses = day.starts.clone();
    for at in &failed {
        if pauses.iter().all(|pause| *at < *pause || *at > *pause + TimeDelta::seconds(10)) {
            pauses.push(*at);
        }
    }
    if failed.len() > 16 * pauses.len() {
        wrong.push(format!("the failing API was called {} times", failed.len()));
    }
    wrong
}
