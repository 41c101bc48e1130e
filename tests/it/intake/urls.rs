//! Which URL of a file stays, when words differ about it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use renderhook::intake::record::Observation;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::words::{at, record, word};

/// What a word says of a file: its URL, when that dies, and when the word was said.
type Told = (Option<&'static str>, Option<DateTime<Utc>>, DateTime<Utc>);

fn every_told() -> Vec<Told> {
    let urls = [None, Some("https://files.example/a.mp4"), Some("https://files.example/b.mp4")];
    let times = [None, Some(at(1)), Some(at(2))];
    let mut all = Vec::new();
    for url in urls {
        for expires_at in times {
            all.extend([at(1), at(2)].map(|said_at| (url, expires_at, said_at)));
        }
    }
    all
}

fn saying(id: &str, (url, expires_at, said_at): Told) -> Observation {
    let downloads = json!([{"url": url, "expires_at": expires_at}]);
    word("video.completed", &json!({"id": id, "downloads": downloads}), said_at)
}

/// What is kept of each render's file and must not depend on the order.
async fn kept(pool: &PgPool) -> HashMap<String, Value> {
    let rows: Vec<(String, Value)> = sqlx::query_as(
        "SELECT render_id, jsonb_build_object(
             'url', url, 'expires_at', expires_at, 'file', split_part(key, '/', 3), 'state', state, 'due_at', due_at,
             'error_code', error_code, 'said_at', CASE WHEN url IS NOT NULL THEN url_observed_at END)
         FROM downloads",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().collect()
}

#[sqlx::test]
async fn any_three_words_about_a_file_leave_the_same_url_in_any_order(pool: PgPool) {
    let all = every_told();
    let id = |a: usize, b: usize, c: usize| format!("{a}-{b}-{c}");
    let orders = || {
        let count = all.len();
        (0..count).flat_map(move |a| (0..count).flat_map(move |b| (0..count).map(move |c| [a, b, c])))
    };
    // One call says the first word of every three, the next their second, the last their third.
    for turn in 0..3 {
        let words: Vec<_> = orders().map(|[a, b, c]| saying(&id(a, b, c), all[[a, b, c][turn]])).collect();
        record(&pool, &words).await;
    }
    // The same in one slice.
    let slice = |[a, b, c]: [usize; 3]| format!("slice {}", id(a, b, c));
    let words: Vec<_> = orders().flat_map(|order| order.map(|told| saying(&slice(order), all[told]))).collect();
    record(&pool, &words).await;
    let kept = kept(&pool).await;
    assert_eq!(kept.len(), 2 * all.len().pow(3));
    for order in orders() {
        let mut sorted = order;
        sorted.sort_unstable();
        let ([a, b, c], [x, y, z]) = (order, sorted);
        assert_eq!(kept[&id(a, b, c)], kept[&id(x, y, z)], "{:?}", order.map(|told| all[told]));
        assert_eq!(kept[&slice(order)], kept[&id(x, y, z)], "in a slice: {:?}", order.map(|told| all[told]));
    }
}

#[sqlx::test]
async fn the_url_that_is_known_to_work_longest_stays(pool: PgPool) {
    let (a, b) = (Some("https://files.example/a.mp4"), Some("https://files.example/b.mp4"));
    let table: [(&str, Told, Told); 6] = [
        ("the later end", (a, Some(at(900)), at(1)), (b, Some(at(800)), at(2))),
        ("of one end, the later word", (a, Some(at(900)), at(2)), (b, Some(at(900)), at(1))),
        ("of two without an end, the later word", (a, None, at(2)), (b, None, at(1))),
        ("an end ahead of a word without one", (a, Some(at(900)), at(1)), (b, None, at(2))),
        ("a word after the other's end", (a, None, at(901)), (b, Some(at(900)), at(1))),
        ("any URL rather than none", (a, None, at(1)), (None, Some(at(900)), at(2))),
    ];
    for (why, wins, loses) in table {
        record(&pool, &[saying(why, loses)]).await;
        record(&pool, &[saying(why, wins)]).await;
        let kept = kept(&pool).await;
        assert_eq!(kept[why]["url"].as_str(), wins.0, "{why}");
    }
}
