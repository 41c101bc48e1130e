//! Polling: which renders are polled, when, and by which service.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::domain::Kind;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{Fault, Lifecycle, OutputFile, Project, RenderPlan, Stage, StandIn};
use reqwest::Method;
use serde_json::Value;
use sqlx::PgPool;

use crate::support::app::{TOKEN, signed, signed_at, video};
use crate::support::{App, Options, standin, until};

/// Starts a service that polls the stand-in, with these flags.
async fn start(pool: &PgPool, magic_hour: &StandIn, flags: &[&str]) -> App {
    let flags = magic_hour.serve_flags().into_iter().chain(flags.iter().map(|&flag| flag.to_owned())).collect();
    App::start_with(pool, Options { flags, ..Options::default() }).await
}

/// Adds a render at Magic Hour that does not change.
fn start_render_in(magic_hour: &StandIn, id: &str, stage: Stage) {
    magic_hour.start_render(RenderPlan::new(Kind::Video, id, Lifecycle::starting_in(stage))).unwrap();
}

/// The part of a render's row that concerns polls.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    status: Option<String>,
    poll_requested: bool,
    poll_due_at: Option<DateTime<Utc>>,
    polled_at: Option<DateTime<Utc>>,
    poll_attempts: i32,
    not_found_at: Option<DateTime<Utc>>,
    stalled_at: Option<DateTime<Utc>>,
}

async fn row(pool: &PgPool, id: &str) -> Row {
    let row = "SELECT status, poll_requested, nullif(poll_due_at, 'infinity') AS poll_due_at, polled_at, poll_attempts, not_found_at,
                   stalled_at
               FROM renders WHERE id = $1";
    sqlx::query_as(row).bind(id).fetch_one(pool).await.unwrap()
}

/// Waits until a poll of a render is settled that is the `attempts`th in a row without a transition.
async fn settled(pool: &PgPool, id: &str, attempts: i32) -> Row {
    until(&format!("the answer about {id} to be settled"), || async {
        let row = row(pool, id).await;
        (row.polled_at.is_some() && row.poll_attempts == attempts && row.poll_due_at > Some(Clock::system().now()))
            .then_some(row)
    })
    .await
}

/// Inserts a render with `status` that was last seen `ago`.
async fn seen(pool: &PgPool, id: &str, status: &str, ago: TimeDelta) {
    let at = Clock::system().now() - ago;
    sqlx::query(
        "INSERT INTO renders (id, kind, status, seen_event_types, first_seen_at, last_seen_at, updated_at)
         VALUES ($1, 'video', $2, '{video.started}', $3, $3, $3)",
    )
    .bind(id)
    .bind(status)
    .bind(at)
    .execute(pool)
    .await
    .unwrap();
}

/// Waits until a render has this status.
async fn becomes(app: &App, id: &str, status: &str) -> Value {
    until(&format!("{id} to be {status}"), || async {
        let render = app.render(id).await;
        (render["status"] == status).then_some(render)
    })
    .await
}

#[sqlx::test]
async fn a_cancelation_is_found_by_polling_and_the_render_is_not_polled_again(pool: PgPool) {
    let magic_hour = standin().await;
    let app = start(&pool, &magic_hour, &["--reconcile-after=1s"]).await;
    start_render_in(&magic_hour, "gone", Stage::Canceled);
    app.send("video.started", &video("gone", "rendering")).await;
    let render = becomes(&app, "gone", "canceled").await;
    let moves = render["transitions"].as_array().unwrap();
    assert_eq!((&moves[1]["from"], &moves[1]["source"]), (&"rendering".into(), &"poll".into()));
    assert_eq!((&moves[1]["event"], &moves[1]["lag_ms"]), (&Value::Null, &Value::Null));
    until("the question to be settled", || async { row(&pool, "gone").await.poll_due_at.is_none().then_some(()) })
        .await;
    assert!(!row(&pool, "gone").await.poll_requested, "it has ended: it is not polled again");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_render_without_any_webhook_is_polled_until_its_file_is_stored(pool: PgPool) {
    let magic_hour = standin().await;
    let app = start(&pool, &magic_hour, &["--reconcile-after=1s"]).await;
    app.send("audio.started", &Project::new(Kind::Audio, "lost", Clock::system().now())).await;
    let life = Lifecycle::starting_in(Stage::Rendering).then(TimeDelta::seconds(3), Stage::Complete);
    magic_hour.start_render(RenderPlan::new(Kind::Audio, "lost", life).with(OutputFile::audio(1))).unwrap();
    let render = app.archived("lost", "stored").await;
    assert_eq!((&render["status"], &render["credits_charged"]), (&"complete".into(), &450.into()));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_start_polls_unfinished_renders_at_once_and_finished_ones_not_at_all(pool: PgPool) {
    let magic_hour = standin().await;
    // As recorded by a service without a key a moment ago.
    let before = App::start(&pool).await;
    let bytes = renderhook_dev::standin::media::image(1);
    let mut stored = video("stored", "complete");
    stored.downloads = vec![before.files.put("stored/a.png", bytes, "image/png").unwrap()];
    before.send("video.completed", &stored).await;
    before.archived("stored", "stored").await;
    before.send("video.errored", &video("failed", "error")).await;
    before.send("video.started", &video("silent", "rendering")).await;
    before.stop().await.unwrap();

    start_render_in(&magic_hour, "silent", Stage::Canceled);
    let app = start(&pool, &magic_hour, &[]).await;
    becomes(&app, "silent", "canceled").await;
    for finished in ["stored", "failed"] {
        assert_eq!(magic_hour.call_count(&Method::GET, finished), 0, "{finished}");
        assert_eq!(row(&pool, finished).await.polled_at, None, "{finished}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn several_services_share_one_rate_and_poll_no_render_twice(pool: PgPool) {
    let magic_hour = standin().await;
    for number in 0..40 {
        let id = format!("r{number}");
        start_render_in(&magic_hour, &id, Stage::Rendering);
        seen(&pool, &id, "rendering", TimeDelta::minutes(10)).await;
    }
    let flags = ["--reconcile-rate=20"];
    let apps = [
        start(&pool, &magic_hour, &flags).await,
        start(&pool, &magic_hour, &flags).await,
        start(&pool, &magic_hour, &flags).await,
    ];
    until("every answer to be settled", || async {
        let settled = "SELECT count(*) FROM renders WHERE poll_attempts = 1";
        let settled: i64 = sqlx::query_scalar(settled).fetch_one(&pool).await.unwrap();
        (settled == 40).then_some(())
    })
    .await;
    let calls = magic_hour.call_log.calls();
    let asked: HashSet<_> = calls.iter().map(|call| call.id.clone()).collect();
    assert_eq!((calls.len(), asked.len()), (40, 40));
    // At least 50 ms between any two, by the clock that claims use.
    let polled: Vec<DateTime<Utc>> =
        sqlx::query_scalar("SELECT polled_at FROM renders ORDER BY polled_at").fetch_all(&pool).await.unwrap();
    let gaps: Vec<_> = polled.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= TimeDelta::milliseconds(50)), "{gaps:?}");
    for app in apps {
        app.stop().await.unwrap();
    }
}

#[sqlx::test]
async fn requested_polls_come_first_and_then_the_render_that_was_silent_the_longest(pool: PgPool) {
    let magic_hour = standin().await;
    for (id, minutes) in [("second", 30), ("third", 20), ("first", 40), ("fourth", 6)] {
        start_render_in(&magic_hour, id, Stage::Rendering);
        seen(&pool, id, "rendering", TimeDelta::minutes(minutes)).await;
    }
    start_render_in(&magic_hour, "wanted", Stage::Rendering);
    seen(&pool, "wanted", "rendering", TimeDelta::minutes(1)).await;
    let wanted = "UPDATE renders SET poll_requested = true, poll_due_at = last_seen_at WHERE id = 'wanted'";
    sqlx::query(wanted).execute(&pool).await.unwrap();
    let app = start(&pool, &magic_hour, &["--reconcile-rate=10"]).await;
    settled(&pool, "fourth", 1).await;
    let order: Vec<String> =
        sqlx::query_scalar("SELECT id FROM renders ORDER BY polled_at").fetch_all(&pool).await.unwrap();
    assert_eq!(order, ["wanted", "first", "second", "third", "fourth"]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_unknown_render_is_marked_and_polled_again_until_it_is_found(pool: PgPool) {
    let magic_hour = standin().await;
    let app = start(&pool, &magic_hour, &["--reconcile-after=1s"]).await;
    app.send("video.started", &video("strange", "rendering")).await;
    let first = settled(&pool, "strange", 1).await;
    let second = settled(&pool, "strange", 2).await;
    assert!(first.not_found_at.is_some() && first.not_found_at == second.not_found_at, "{first:?} {second:?}");
    assert_eq!(second.status.as_deref(), Some("rendering"));
    start_render_in(&magic_hour, "strange", Stage::Canceled);
    becomes(&app, "strange", "canceled").await;
    assert_eq!(row(&pool, "strange").await.not_found_at, None);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn after_a_week_a_render_is_stalled_and_polled_daily_and_after_a_month_abandoned(pool: PgPool) {
    let magic_hour = standin().await;
    for id in ["young", "stalled", "left", "cured"] {
        start_render_in(&magic_hour, id, if id == "cured" { Stage::Canceled } else { Stage::Rendering });
        seen(&pool, id, "rendering", TimeDelta::days(if id == "young" { 6 } else { 8 })).await;
    }
    let since = "UPDATE renders SET stalled_at = $1 WHERE id IN ('left', 'cured')";
    sqlx::query(since).bind(Clock::system().now() - TimeDelta::days(31)).execute(&pool).await.unwrap();
    let app = start(&pool, &magic_hour, &[]).await;
    let now = Clock::system().now();
    let due_in = |row: &Row| row.poll_due_at.map(|due_at| (due_at - now).num_hours());
    let young = settled(&pool, "young", 1).await;
    assert_eq!((young.stalled_at, due_in(&young)), (None, Some(0)));
    let stalled = settled(&pool, "stalled", 1).await;
    assert!(stalled.stalled_at.is_some() && (19..=24).contains(&due_in(&stalled).unwrap()), "{stalled:?}");
    let left = until("left to be settled", || async {
        let row = row(&pool, "left").await;
        (row.poll_attempts == 1).then_some(row)
    })
    .await;
    assert_eq!(left.poll_due_at, None, "never: `infinity` in the row");
    becomes(&app, "cured", "canceled").await;
    assert_eq!(row(&pool, "cured").await.stalled_at, None);

    // An event resumes polling.
    app.send("video.started", &video("left", "rendering")).await;
    let due: bool =
        sqlx::query_scalar("SELECT poll_due_at IS NULL FROM renders WHERE id = 'left'").fetch_one(&pool).await.unwrap();
    assert!(due, "the time until the next poll restarts");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_stale_delivery_is_not_recorded_and_its_render_is_polled_at_once(pool: PgPool) {
    let magic_hour = standin().await;
    let app = start(&pool, &magic_hour, &[]).await;
    let hour_ago = Clock::system().now().timestamp() - 3600;
    // A new render and a known one.
    let file = OutputFile::image(2);
    magic_hour
        .start_render(RenderPlan::new(Kind::Image, "new", Lifecycle::starting_in(Stage::Complete)).with(file.clone()))
        .unwrap();
    let mut stale = Project::new(Kind::Image, "new", Clock::system().now());
    stale.name = Some("not trusted".to_owned());
    stale.status = Some("error".to_owned());
    assert_eq!(app.deliver(&signed_at(hour_ago, &stale.event("image.errored"))).await.status, 401);
    let render = app.archived("new", "stored").await;
    assert_eq!((&render["status"], &render["name"]), (&"complete".into(), &Value::Null));
    assert_eq!(render["transitions"].as_array().unwrap().len(), 1);

    app.send("video.started", &video("known", "rendering")).await;
    start_render_in(&magic_hour, "known", Stage::error("no_source_face"));
    app.deliver(&signed_at(hour_ago, &video("known", "complete").event("video.completed"))).await;
    let render = becomes(&app, "known", "error").await;
    assert_eq!(render["error"]["code"], "no_source_face");

    // A complete and stored render is not polled.
    let asked = magic_hour.call_count(&Method::GET, "new");
    app.deliver(&signed_at(hour_ago, &stale.event("image.errored"))).await;
    assert!(!row(&pool, "new").await.poll_requested);
    assert_eq!(magic_hour.call_count(&Method::GET, "new"), asked);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_poll_decides_between_error_and_canceled(pool: PgPool) {
    let magic_hour = standin().await;
    let app = start(&pool, &magic_hour, &[]).await;
    start_render_in(&magic_hour, "either", Stage::Canceled);
    app.send("video.errored", &video("either", "error")).await;
    app.send("video.canceled", &video("either", "canceled")).await;
    let render = becomes(&app, "either", "canceled").await;
    assert_eq!(render["transitions"][1]["source"], "poll");
    until("the question to be settled", || async { (!row(&pool, "either").await.poll_requested).then_some(()) }).await;
    app.send("video.errored", &video("either", "error")).await;
    assert!(!row(&pool, "either").await.poll_requested, "once");
    assert_eq!(app.render("either").await["status"], "canceled");
    assert_eq!(magic_hour.call_count(&Method::GET, "either"), 1);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_outdated_answer_decides_nothing_and_the_render_is_polled_again(pool: PgPool) {
    let magic_hour = standin().await;
    let app = start(&pool, &magic_hour, &["--reconcile-after=1s"]).await;
    start_render_in(&magic_hour, "behind", Stage::Rendering);
    app.send("video.errored", &video("behind", "error")).await;
    app.send("video.canceled", &video("behind", "canceled")).await;
    until("the first answer", || async { (row(&pool, "behind").await.poll_attempts >= 1).then_some(()) }).await;
    assert!(row(&pool, "behind").await.poll_requested, "the answer is neither error nor canceled");
    assert!(magic_hour.move_render("behind", Stage::Canceled));
    becomes(&app, "behind", "canceled").await;
    until("the question to be settled", || async { (!row(&pool, "behind").await.poll_requested).then_some(()) }).await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_throttle_state_from_a_wrong_clock_delays_nothing(pool: PgPool) {
    let magic_hour = standin().await;
    start_render_in(&magic_hour, "one", Stage::Rendering);
    seen(&pool, "one", "rendering", TimeDelta::minutes(10)).await;
    let ahead = "UPDATE upstream_throttle SET next_call_at = $1";
    sqlx::query(ahead).bind(Clock::system().now() + TimeDelta::hours(2)).execute(&pool).await.unwrap();
    let app = start(&pool, &magic_hour, &[]).await;
    settled(&pool, "one", 1).await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn outdated_slow_or_odd_answers_revert_nothing_and_pause_nothing(pool: PgPool) {
    let magic_hour = standin().await;
    for id in ["lags", "odd", "good"] {
        start_render_in(&magic_hour, id, Stage::Rendering);
        seen(&pool, id, "rendering", TimeDelta::minutes(10)).await;
    }
    // They have been silent for the same time, so they are polled in the order of their ids.
    magic_hour.faults.inject_next([
        Fault::Delay(std::time::Duration::from_millis(300)),
        Fault::StaleAnswer(TimeDelta::zero()),
        Fault::status(418),
    ]);
    let app = start(&pool, &magic_hour, &["--reconcile-rate=10"]).await;
    for id in ["lags", "odd", "good"] {
        let row = settled(&pool, id, 1).await;
        assert_eq!((row.status.as_deref(), row.not_found_at), (Some("rendering"), None), "{id}");
    }
    let refusals: i32 = sqlx::query_scalar("SELECT failures FROM upstream_accounts").fetch_one(&pool).await.unwrap();
    assert_eq!(refusals, 0);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_event_that_arrives_during_a_poll_is_not_reverted_by_the_answer(pool: PgPool) {
    let magic_hour = standin().await;
    start_render_in(&magic_hour, "meanwhile", Stage::Rendering);
    seen(&pool, "meanwhile", "rendering", TimeDelta::minutes(10)).await;
    magic_hour.faults.inject_next([Fault::Delay(std::time::Duration::from_secs(1))]);
    let app = start(&pool, &magic_hour, &[]).await;
    until("the question", || async { (magic_hour.total_calls() == 1).then_some(()) }).await;
    let failed = video("meanwhile", "error").event("video.errored");
    assert_eq!(app.deliver(&signed(&failed)).await.status, 200);
    assert_eq!(row(&pool, "meanwhile").await.poll_due_at, None, "it has ended");
    until("the answer", || async {
        let answered = magic_hour.call_log.calls()[0].status.is_some();
        answered.then_some(())
    })
    .await;
    app.stop().await.unwrap();
    let row = row(&pool, "meanwhile").await;
    assert_eq!((row.status.as_deref(), row.poll_due_at, row.poll_requested), (Some("error"), None, false));
}

#[sqlx::test]
async fn an_announced_render_is_polled_at_once_and_found_queued(pool: PgPool) {
    let magic_hour = standin().await;
    let app = start(&pool, &magic_hour, &[]).await;
    start_render_in(&magic_hour, "mine", Stage::Queued);
    let announcement = serde_json::json!({"kind": "video", "external_id": "order-17", "metadata": {"user": 7}});
    let put = || app.client.put(app.at("/renders/mine")).bearer_auth(TOKEN).json(&announcement).send();
    assert_eq!(put().await.unwrap().status(), 201);
    let render = becomes(&app, "mine", "queued").await;
    assert_eq!((&render["external_id"], &render["metadata"]["user"]), (&"order-17".into(), &7.into()));
    assert_eq!(render["transitions"][0]["source"], "poll");

    // A finished render gets its name and is not polled.
    let ended = row(&pool, "mine").await;
    app.send("video.errored", &video("mine", "error")).await;
    assert_eq!(put().await.unwrap().status(), 200);
    let row = row(&pool, "mine").await;
    assert_eq!((row.status.as_deref(), row.poll_due_at, row.polled_at), (Some("error"), None, ended.polled_at));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_kind_in_an_event_wins_over_the_announced_one(pool: PgPool) {
    let app = App::start(&pool).await;
    let announcement = serde_json::json!({"kind": "image"});
    let put = app.client.put(app.at("/renders/mistaken")).bearer_auth(TOKEN).json(&announcement).send();
    assert_eq!(put.await.unwrap().status(), 201);
    app.send("video.started", &video("mistaken", "rendering")).await;
    assert_eq!(app.render("mistaken").await["kind"], "video");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_render_whose_polls_always_fail_delays_no_other_and_pauses_nothing(pool: PgPool) {
    let magic_hour = standin().await;
    magic_hour.faults.inject_for(Method::GET, "poison", Fault::status(500));
    start_render_in(&magic_hour, "poison", Stage::Rendering);
    // It was silent the longest, so it is polled first.
    seen(&pool, "poison", "rendering", TimeDelta::minutes(30)).await;
    for number in 0..5 {
        let id = format!("healthy-{number}");
        start_render_in(&magic_hour, &id, Stage::Canceled);
        seen(&pool, &id, "rendering", TimeDelta::minutes(10)).await;
    }
    let app = start(&pool, &magic_hour, &["--reconcile-rate=20"]).await;
    let failed = settled(&pool, "poison", 1).await;
    for number in 0..5 {
        becomes(&app, &format!("healthy-{number}"), "canceled").await;
    }
    let throttle: (i32, bool) =
        sqlx::query_as("SELECT failures, paused_until > now() FROM upstream_accounts").fetch_one(&pool).await.unwrap();
    assert_eq!(throttle, (0, false));
    // It is polled again after its own backoff, not after the interval for unchanged renders.
    let gap = failed.poll_due_at.unwrap() - failed.polled_at.unwrap();
    assert!((TimeDelta::seconds(8)..TimeDelta::seconds(60)).contains(&gap), "{gap}");
    magic_hour.faults.clear();
    assert!(magic_hour.move_render("poison", Stage::Canceled));
    becomes(&app, "poison", "canceled").await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_file_waits_for_a_fresh_url_through_a_failed_poll(pool: PgPool) {
    let magic_hour = standin().await;
    let app = start(&pool, &magic_hour, &[]).await;
    let file = OutputFile::image(3);
    magic_hour
        .start_render(RenderPlan::new(Kind::Image, "renewed", Lifecycle::starting_in(Stage::Complete)).with(file))
        .unwrap();
    magic_hour.faults.inject_next([Fault::status(500)]);
    let mut expired = Project::new(Kind::Image, "renewed", Clock::system().now());
    expired.status = Some("complete".to_owned());
    expired.expires_at = Clock::system().now() - TimeDelta::hours(1);
    expired.downloads = vec![app.files.sign("renewed/gone.png", expired.expires_at).unwrap()];
    app.send("image.completed", &expired).await;
    let failed = until("the failed poll", || async {
        let row = row(&pool, "renewed").await;
        (row.poll_attempts == 1).then_some(row)
    })
    .await;
    assert!(failed.poll_requested, "the file still waits");
    app.archived("renewed", "stored").await;
    let attempts: i32 = sqlx::query_scalar("SELECT attempts FROM downloads").fetch_one(&pool).await.unwrap();
    assert_eq!(attempts, 1, "waiting does not count as an attempt");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_clock_that_jumps_ahead_and_back_strands_no_poll(pool: PgPool) {
    let magic_hour = standin().await;
    start_render_in(&magic_hour, "one", Stage::Rendering);
    seen(&pool, "one", "rendering", TimeDelta::minutes(10)).await;
    let ahead = Arc::new(AtomicI64::new(2));
    let days = ahead.clone();
    let clock = Clock::from_fn(move || Clock::system().now() + TimeDelta::days(days.load(Ordering::Relaxed)));
    let options = Options { flags: magic_hour.serve_flags(), clock: Some(clock), ..Options::default() };
    let app = App::start_with(&pool, options).await;
    let polled = until("the poll two days ahead", || async {
        let row = row(&pool, "one").await;
        (row.poll_attempts == 1).then_some(row)
    })
    .await;
    assert!(polled.poll_due_at > Some(Clock::system().now() + TimeDelta::days(1)), "{polled:?}");
    ahead.store(0, Ordering::Relaxed);
    let again = settled(&pool, "one", 2).await;
    assert!(again.poll_due_at < Some(Clock::system().now() + TimeDelta::hours(1)), "{again:?}");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_poll_requested_during_a_slow_poll_starts_no_second_one_at_the_same_time(pool: PgPool) {
    let magic_hour = standin().await;
    start_render_in(&magic_hour, "slow", Stage::Rendering);
    seen(&pool, "slow", "rendering", TimeDelta::minutes(10)).await;
    let slow = TimeDelta::seconds(3);
    magic_hour.faults.inject_next([Fault::Delay(slow.to_std().unwrap())]);
    let flags = ["--reconcile-after=1s"];
    let apps = [start(&pool, &magic_hour, &flags).await, start(&pool, &magic_hour, &flags).await];
    until("the slow poll", || async { (magic_hour.total_calls() == 1).then_some(()) }).await;
    let wants = "UPDATE renders SET poll_requested = true, poll_due_at = now() - interval '1 second'";
    sqlx::query(wants).execute(&pool).await.unwrap();
    until("the poll that was wanted", || async { (magic_hour.total_calls() == 2).then_some(()) }).await;
    let calls = magic_hour.call_log.calls();
    assert!(calls[1].at - calls[0].at >= slow, "{calls:?}");
    for app in apps {
        app.stop().await.unwrap();
    }
}

#[sqlx::test]
async fn a_start_does_not_wait_for_locked_rows(pool: PgPool) {
    let magic_hour = standin().await;
    for id in ["locked", "free"] {
        start_render_in(&magic_hour, id, Stage::Canceled);
        seen(&pool, id, "rendering", TimeDelta::minutes(1)).await;
    }
    let mut writer = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM renders WHERE id = 'locked' FOR UPDATE").execute(&mut *writer).await.unwrap();
    let app = start(&pool, &magic_hour, &[]).await;
    becomes(&app, "free", "canceled").await;
    writer.rollback().await.unwrap();
    app.stop().await.unwrap();
}
