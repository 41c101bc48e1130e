//! What the service sees to by itself: old bodies, urgent files, and the numbers about them.

use chrono::TimeDelta;
use renderhook::archive::backlog;
use renderhook::intake::retention;
use renderhook::runtime::Clock;
use sqlx::PgPool;

use crate::support::app::video;
use crate::support::words::{at, completed, record};
use crate::support::{App, Options, until};

async fn bodies(pool: &PgPool) -> (i64, i64) {
    let counted = sqlx::query_as("SELECT count(*), count(body) FROM deliveries");
    counted.fetch_one(pool).await.unwrap()
}

#[sqlx::test]
async fn old_bodies_are_pruned_in_batches_and_their_duplicates_are_still_told(pool: PgPool) {
    for second in 1..=5 {
        record(&pool, &[completed(&format!("r{second}"), &[], None, at(second))]).await;
    }
    let received: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT max(received_at) FROM deliveries").fetch_one(&pool).await.unwrap();
    assert_eq!(retention::prune(&pool, received - TimeDelta::days(1), 10).await.unwrap(), 0);
    let after = received + TimeDelta::microseconds(1);
    assert_eq!(retention::prune(&pool, after, 2).await.unwrap(), 2);
    assert_eq!(bodies(&pool).await, (5, 3));
    assert_eq!(retention::prune(&pool, after, 10).await.unwrap(), 3);
    assert_eq!(retention::prune(&pool, after, 10).await.unwrap(), 0);
    assert_eq!(bodies(&pool).await, (5, 0));
    let again = record(&pool, &[completed("r1", &[], None, at(9))]).await;
    assert_eq!(again[0].outcome, renderhook::intake::record::Outcome::Duplicate);
}

#[sqlx::test]
async fn the_running_service_prunes_what_is_older_than_the_setting(pool: PgPool) {
    record(&pool, &[completed("old", &[], None, at(1))]).await;
    // The record was made by a clock of the past; the service's own is today's.
    sqlx::query("UPDATE deliveries SET received_at = now() - interval '2 days'").execute(&pool).await.unwrap();
    let app = App::start_with(&pool, Options::flags(&["--event-retention=1d"])).await;
    until("the old body to be pruned", || async { (bodies(&pool).await == (1, 0)).then_some(()) }).await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_file_is_endangered_when_it_has_little_time_left_and_nothing_works(pool: PgPool) {
    let now = Clock::system().now();
    let soon = Some(now + TimeDelta::minutes(90));
    record(&pool, &[completed("soon", &["https://files.example/a.mp4"], soon, now)]).await;
    let later = Some(now + TimeDelta::hours(20));
    record(&pool, &[completed("later", &["https://files.example/b.mp4"], later, now)]).await;
    sqlx::query("UPDATE downloads SET due_at = $1").bind(now).execute(&pool).await.unwrap();
    let look = backlog::look(&pool, now).await.unwrap();
    assert_eq!((look.pending, look.endangered, look.most_urgent), (2, 0, None));
    assert_eq!(look.first_expires_at.map(|at| at.timestamp()), soon.map(|at| at.timestamp()));

    // Nobody takes it up.
    let look = backlog::look(&pool, now + TimeDelta::minutes(6)).await.unwrap();
    assert_eq!((look.endangered, look.most_urgent.as_deref()), (1, Some("soon")));

    // It fails.
    sqlx::query("UPDATE downloads SET error_code = 'http_500', error_message = 'm'").execute(&pool).await.unwrap();
    let look = backlog::look(&pool, now).await.unwrap();
    assert_eq!((look.endangered, look.most_urgent.as_deref()), (1, Some("soon")));
}

#[sqlx::test]
async fn the_metrics_are_for_who_has_a_token_and_tell_the_time_left(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    let mut project = video("waiting", "complete");
    project.downloads = vec!["https://files.example/a.mp4".parse().unwrap()];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    assert_eq!(app.client.get(app.at("/metrics")).send().await.unwrap().status(), 401);
    let answer = app.get("/metrics").await;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = answer.text().await.unwrap();
    assert!(text.contains("renderhook_downloads{state=\"pending\"} 1"), "{text}");
    let left = text.lines().find_map(|line| line.strip_prefix("renderhook_download_time_left_seconds "));
    let left: f64 = left.unwrap().parse().unwrap();
    assert!((86_000.0..=86_400.0).contains(&left), "{left}");
    app.stop().await.unwrap();
}
