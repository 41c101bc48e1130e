//! Missing webhooks: transitions that only polls reported.

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::runtime::Clock;
use renderhook::upstream::{MISSING_WEBHOOKS_LIMIT, MissingWebhooks, count_missing_webhooks};
use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::process::{Service, database_url, serve};
use crate::support::{App, standin, until};

/// Inserts a render that reached `status` at `at`, according to `source`.
pub(crate) async fn ended(pool: &PgPool, id: &str, status: &str, source: &str, at: DateTime<Utc>) {
    sqlx::query(
        "WITH render AS (
             INSERT INTO renders (id, kind, status, first_seen_at, last_seen_at, updated_at)
             VALUES ($1, 'video', $2, $4, $4, $4) RETURNING id
         )
         INSERT INTO transitions (render_id, to_status, source, at) SELECT id, $2, $3, $4 FROM render",
    )
    .bind(id)
    .bind(status)
    .bind(source)
    .bind(at)
    .execute(pool)
    .await
    .unwrap();
}

/// Inserts a delivery about a render that arrived at `at`.
async fn delivered(pool: &PgPool, id: &str, outcome: &str, at: DateTime<Utc>) {
    let problem = (outcome == "stale").then_some("old");
    sqlx::query("INSERT INTO deliveries (received_at, render_id, outcome, problem) VALUES ($1, $2, $3, $4)")
        .bind(at)
        .bind(id)
        .bind(outcome)
        .bind(problem)
        .execute(pool)
        .await
        .unwrap();
}

#[sqlx::test]
async fn a_webhook_is_missing_if_a_poll_found_the_end_and_none_arrived_within_ten_minutes(pool: PgPool) {
    let now = Clock::system().now();
    let ago = |minutes| now - TimeDelta::minutes(minutes);
    let table = [
        // id, status, source, minutes ago; a delivery: outcome, minutes ago; counted as ended, as missing.
        ("reported", "complete", "webhook", 60, Some(("recorded", 60)), true, false),
        ("silent", "complete", "poll", 60, None, true, true),
        ("failed", "error", "poll", 60, None, true, true),
        ("started", "complete", "poll", 60, Some(("recorded", 65)), true, true),
        ("late", "complete", "poll", 60, Some(("duplicate", 52)), true, false),
        ("too late", "complete", "poll", 60, Some(("duplicate", 49)), true, true),
        ("stale", "complete", "poll", 60, Some(("stale", 61)), true, false),
        ("canceled", "canceled", "poll", 60, None, false, false),
        ("just now", "complete", "poll", 9, None, false, false),
        ("yesterday", "complete", "poll", 24 * 60 + 1, None, false, false),
    ];
    let mut expected = MissingWebhooks { ended: 0, missing: 0 };
    for (id, status, source, minutes, delivery, is_ended, is_missing) in table {
        ended(&pool, id, status, source, ago(minutes)).await;
        if let Some((outcome, minutes)) = delivery {
            delivered(&pool, id, outcome, ago(minutes)).await;
        }
        expected.ended += i64::from(is_ended);
        expected.missing += i64::from(is_missing);
        assert_eq!(MissingWebhooks::count(&pool, now).await.unwrap(), expected, "{id}");
    }
    ended(&pool, "latest", "complete", "poll", ago(50)).await;
    let among = |limit| count_missing_webhooks(&pool, now, limit);
    assert_eq!(among(MISSING_WEBHOOKS_LIMIT).await.unwrap(), expected.missing + 1);
    assert_eq!(among(1).await.unwrap(), 1, "only the latest is looked at");
}

#[test]
fn the_text_has_the_number_of_missing_webhooks_and_the_probable_cause() {
    let text = |ended, missing| MissingWebhooks { ended, missing }.to_string();
    assert!(text(7, 0).contains("the 7 renders"));
    assert!(text(7, 4).contains("4 of the 7 renders") && text(7, 4).contains("mistyped or disabled in Developer Hub"));
    assert!(text(7, 1).contains("are all events selected"));
}

#[sqlx::test]
async fn one_of_all_services_logs_a_warning_per_hour_and_the_metrics_have_the_count(pool: PgPool) {
    let magic_hour = standin().await;
    ended(&pool, "silent", "error", "poll", Clock::system().now() - TimeDelta::hours(1)).await;
    let folder = TempDir::new().unwrap();
    let start = || async {
        let mut command = serve(&database_url(&pool), &folder);
        for flag in magic_hour.serve_flags() {
            command.arg(flag);
        }
        Service::start(command).await
    };
    let warnings = |service: &Service| service.log.events("webhooks.missing");
    let first = start().await;
    let line = until("the warning", || async { warnings(&first).pop() }).await;
    assert_eq!(
        (&line["level"], &line["renders.missing"], &line["renders.ended"]),
        (&"WARN".into(), &1.into(), &1.into())
    );
    assert!(line["message"].as_str().unwrap().contains("mistyped or disabled in Developer Hub"), "{line}");

    // A second service also counts at its start, but does not warn again.
    let second = start().await;
    let app = App::start(&pool).await;
    let text = app.get("/metrics").await.text().await.unwrap();
    assert!(text.contains("renderhook_webhooks_missing 1"), "{text}");
    until("the second to have started", || async { second.log.events("store.ready").pop() }).await;
    assert_eq!((warnings(&first).len(), warnings(&second).len()), (1, 0));

    let hour_ago =
        "UPDATE upstream_throttle SET missing_webhooks_logged_at = missing_webhooks_logged_at - interval '1 hour'";
    sqlx::query(hour_ago).execute(&pool).await.unwrap();
    let third = start().await;
    until("the warning of the next hour", || async { warnings(&third).pop() }).await;
    app.stop().await.unwrap();
}
