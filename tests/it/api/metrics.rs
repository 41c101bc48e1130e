//! `GET /metrics`.

use sqlx::PgPool;

use crate::support::app::video;
use crate::support::{App, Options};

#[sqlx::test]
async fn metrics_need_a_token_and_report_the_time_left(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    let mut project = video("waiting", "complete");
    project.downloads = vec!["https://files.example/a.mp4".parse().unwrap()];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    assert_eq!(app.client.get(app.at("/metrics")).send().await.unwrap().status(), 401);
    let answer = app.get("/metrics").await;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = answer.text().await.unwrap();
    assert!(text.contains("renderhook_downloads{state=\"pending\"} 1"), "{text}");
    assert!(text.contains("renderhook_renders{kind=\"video\",status=\"complete\"} 1"), "{text}");
    assert!(text.contains("# TYPE renderhook_credits_charged_total counter"), "{text}");
    let left = text.lines().find_map(|line| line.strip_prefix("renderhook_download_time_left_seconds "));
    let left: f64 = left.unwrap().parse().unwrap();
    assert!((86_000.0..=86_400.0).contains(&left), "{left}");
    app.stop().await.unwrap();
}
