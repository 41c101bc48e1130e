//! Which URL of a file stays if observations differ.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use renderhook::intake::Observation;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::observations::{at, observation, record};

/// An observation of a file: its URL, when the URL expires, and when it was observed.
type FileReport = (Option<&'static str>, Option<DateTime<Utc>>, DateTime<Utc>);

fn all_reports() -> Vec<FileReport> {
    let urls = [None, Some("https://files.example/a.mp4"), Some("https://files.example/b.mp4")];
    let times = [None, Some(at(1)), Some(at(2))];
    let mut all = Vec::new();
    for url in urls {
        for expires_at in times {
            all.extend([at(1), at(2)].map(|observed_at| (url, expires_at, observed_at)));
        }
    }
    all
}

fn file_observation(id: &str, (url, expires_at, observed_at): FileReport) -> Observation {
    let downloads = json!([{"url": url, "expires_at": expires_at}]);
    observation("video.completed", &json!({"id": id, "downloads": downloads}), observed_at)
}

/// The stored state of each render's file that must not depend on the order.
async fn stored_files(pool: &PgPool) -> HashMap<String, Value> {
    let rows: Vec<(String, Value)> = sqlx::query_as(
        "SELECT render_id, jsonb_build_object(
             'url', url, 'expires_at', expires_at, 'file', split_part(key, '/', 3), 'state', state, 'due_at', due_at,
             'error_code', error_code, 'observed_at', CASE WHEN url IS NOT NULL THEN url_observed_at END)
         FROM downloads",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().collect()
}

#[sqlx::test]
async fn three_observations_of_a_file_in_any_order_end_with_the_same_url(pool: PgPool) {
    let all = all_reports();
    let id = |a: usize, b: usize, c: usize| format!("{a}-{b}-{c}");
    let orders = || {
        let count = all.len();
        (0..count).flat_map(move |a| (0..count).flat_map(move |b| (0..count).map(move |c| [a, b, c])))
    };
    // The first call records the first of each three observations, the next one the second, the last one the third.
    for turn in 0..3 {
        let observations: Vec<_> =
            orders().map(|[a, b, c]| file_observation(&id(a, b, c), all[[a, b, c][turn]])).collect();
        record(&pool, &observations).await;
    }
    // The same in one batch.
    let batch = |[a, b, c]: [usize; 3]| format!("batch {}", id(a, b, c));
    let observations: Vec<_> =
        orders().flat_map(|order| order.map(|index| file_observation(&batch(order), all[index]))).collect();
    record(&pool, &observations).await;
    let stored = stored_files(&pool).await;
    assert_eq!(stored.len(), 2 * all.len().pow(3));
    for order in orders() {
        let mut sorted = order;
        sorted.sort_unstable();
        let ([a, b, c], [x, y, z]) = (order, sorted);
        assert_eq!(stored[&id(a, b, c)], stored[&id(x, y, z)], "{:?}", order.map(|index| all[index]));
        assert_eq!(stored[&batch(order)], stored[&id(x, y, z)], "in a batch: {:?}", order.map(|index| all[index]));
    }
}

#[sqlx::test]
async fn the_url_that_works_longest_stays(pool: PgPool) {
    let (a, b) = (Some("https://files.example/a.mp4"), Some("https://files.example/b.mp4"));
    let table: [(&str, FileReport, FileReport); 6] = [
        ("the later expiry", (a, Some(at(900)), at(1)), (b, Some(at(800)), at(2))),
        ("the later observation if both expire at the same time", (a, Some(at(900)), at(2)), (b, Some(at(900)), at(1))),
        ("the later observation if neither has an expiry", (a, None, at(2)), (b, None, at(1))),
        ("a known expiry after the other observation", (a, Some(at(900)), at(1)), (b, None, at(2))),
        ("an observation after the other expiry", (a, None, at(901)), (b, Some(at(900)), at(1))),
        ("any URL rather than none", (a, None, at(1)), (None, Some(at(900)), at(2))),
    ];
    for (why, wins, loses) in table {
        record(&pool, &[file_observation(why, loses)]).await;
        record(&pool, &[file_observation(why, wins)]).await;
        let stored = stored_files(&pool).await;
        assert_eq!(stored[why]["url"].as_str(), wins.0, "{why}");
    }
}
