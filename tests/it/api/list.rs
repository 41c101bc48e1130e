//! `GET /renders`: content, order, filters, and pagination.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::archive::Store;
use renderhook::domain::{ArchiveState, FileCounts, Status};
use renderhook::views::{self, ListFilter};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::video;
use crate::support::observations::{at, connections, record, status_report};
use crate::support::{App, Options};

/// Starts a service that downloads nothing.
async fn start(pool: &PgPool) -> App {
    App::start_with(pool, Options::flags(&["--download-concurrency=0"])).await
}

async fn list(app: &App, query: &str) -> Value {
    let answer = app.get(&format!("/renders?{query}")).await;
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.unwrap()
}

fn ids(list: &Value) -> Vec<&str> {
    list["renders"].as_array().unwrap().iter().map(|render| render["id"].as_str().unwrap()).collect()
}

/// Sets a render's file counts and archive state from its rows in `downloads`.
async fn recount_files(pool: &PgPool, id: &str) {
    let counted: (Option<String>, i32, i32, i32) = sqlx::query_as(
        "SELECT r.status, count(d.state)::int, count(*) FILTER (WHERE d.state = 'stored')::int,
             count(*) FILTER (WHERE d.state = 'failed')::int
         FROM renders AS r LEFT JOIN downloads AS d ON d.render_id = r.id
         WHERE r.id = $1
         GROUP BY r.id",
    )
    .bind(id)
    .fetch_one(pool)
    .await
    .unwrap();
    let (status, total, stored, failed) = counted;
    let status = status.map(|status| status.parse().unwrap());
    let archive = ArchiveState::of(status, FileCounts { total, stored, failed, missing: 0 });
    sqlx::query(
        "UPDATE renders SET files_total = $2, files_stored = $3, files_failed = $4, archive = $5 WHERE id = $1",
    )
    .bind(id)
    .bind(total)
    .bind(stored)
    .bind(failed)
    .bind(archive.as_str())
    .execute(pool)
    .await
    .unwrap();
}

/// Inserts a render that was first seen at a given time.
async fn insert_render(pool: &PgPool, id: &str, kind: &str, status: Option<Status>, at: DateTime<Utc>) {
    sqlx::query(
        "INSERT INTO renders (id, kind, status, first_seen_at, last_seen_at, updated_at) VALUES ($1, $2, $3, $4, $4, $4)",
    )
    .bind(id)
    .bind(kind)
    .bind(status.map(Status::as_str))
    .bind(at)
    .execute(pool)
    .await
    .unwrap();
    recount_files(pool, id).await;
}

/// Inserts a download in a given state.
async fn insert_download(pool: &PgPool, id: &str, index: i32, state: &str) {
    sqlx::query(
        "INSERT INTO downloads (render_id, index, state, url, url_observed_at, key, due_at, lease, error_code, error_message,
                                size_bytes, sha256, stored_at, updated_at)
         VALUES ($1, $2, $3, 'https://files.example/a', $4, 'video/a/0-a',
                 CASE WHEN $3 IN ('pending', 'downloading') THEN $4 + interval '100 years' END,
                 CASE WHEN $3 = 'downloading' THEN gen_random_uuid() END,
                 CASE WHEN $3 = 'failed' THEN 'http_404' END, CASE WHEN $3 = 'failed' THEN 'gone' END,
                 CASE WHEN $3 = 'stored' THEN 1 END, CASE WHEN $3 = 'stored' THEN repeat('a', 64) END,
                 CASE WHEN $3 = 'stored' THEN $4 END, $4)",
    )
    .bind(id)
    .bind(index)
    .bind(state)
    .bind(at(0))
    .execute(pool)
    .await
    .unwrap();
    recount_files(pool, id).await;
}

/// The renders of all pages, and the number of pages.
async fn pages(app: &App, query: &str) -> (Vec<String>, usize) {
    let (mut all, mut count, mut page) = (Vec::new(), 0, list(app, query).await);
    loop {
        count += 1;
        all.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { return (all, count) };
        page = list(app, &format!("{query}&cursor={cursor}")).await;
    }
}

#[sqlx::test]
async fn the_list_shows_renders_like_the_single_endpoint(pool: PgPool) {
    let app = App::start(&pool).await;
    assert_eq!(list(&app, "").await, json!({"renders": [], "next_cursor": null}));
    let mut project = video("whole", "complete");
    project.downloads = vec![
        app.files.put("a.mp4", b"1".to_vec(), "video/mp4").unwrap(),
        app.files.put("b.mp4", b"2".to_vec(), "video/mp4").unwrap(),
    ];
    app.send("video.started", &video("whole", "rendering")).await;
    app.send("video.completed", &project).await;
    app.send("video.errored", &video("failed", "error")).await;
    app.archived("whole", "stored").await;
    let returned = list(&app, "").await;
    let mut alone = [app.render("failed").await, app.render("whole").await];
    for render in &mut alone {
        render.as_object_mut().unwrap().shift_remove("notifications");
    }
    // Compared as text, because the order of fields matters to people.
    assert_eq!(returned.to_string(), json!({"renders": alone, "next_cursor": null}).to_string());
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn pagination_returns_every_render_once_while_others_are_added(pool: PgPool) {
    let app = start(&pool).await;
    // Several have the same time, so that the id decides.
    for number in 0..25 {
        insert_render(&pool, &format!("clx{number:02}"), "video", None, at(number / 3)).await;
    }
    let mut expected: Vec<_> = (0..25).rev().map(|number| format!("clx{number:02}")).collect();
    assert_eq!(pages(&app, "limit=4").await, (expected.clone(), 7));
    assert_eq!(
        pages(&app, "limit=5").await,
        (expected.clone(), 5),
        "the last page is full, and is known to be the last"
    );
    assert_eq!(pages(&app, "limit=25").await, (expected.clone(), 1));

    let first = list(&app, "limit=10").await;
    insert_render(&pool, "newer", "video", None, at(1000)).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = list(&app, &format!("limit=200&cursor={cursor}")).await;
    assert_eq!([ids(&first), ids(&rest)].concat(), expected);
    expected.insert(0, "newer".to_owned());
    assert_eq!(pages(&app, "limit=10").await.0, expected);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_default_limit_is_fifty(pool: PgPool) {
    let app = start(&pool).await;
    for number in 0..51 {
        insert_render(&pool, &number.to_string(), "image", None, at(number)).await;
    }
    let returned = list(&app, "").await;
    assert_eq!((ids(&returned).len(), returned["next_cursor"].is_string()), (50, true));
    assert_eq!(ids(&list(&app, "limit=1").await), ["50"]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn filters_are_combined_with_and(pool: PgPool) {
    let app = start(&pool).await;
    let statuses = Status::ALL.into_iter().map(Some).chain([None]);
    for (number, status) in (0..).zip(statuses) {
        for kind in ["video", "image", "audio"] {
            let id = format!("{kind}-{}", status.map_or("untold", Status::as_str));
            insert_render(&pool, &id, kind, status, at(number)).await;
        }
    }
    sqlx::query("UPDATE renders SET external_id = 'order 17' WHERE status = 'queued'").execute(&pool).await.unwrap();
    for status in Status::ALL.map(Status::as_str) {
        let expected = ["video", "image", "audio"].map(|kind| format!("{kind}-{status}"));
        assert_eq!(pages(&app, &format!("status={status}&limit=2")).await, (expected.to_vec(), 2));
    }
    assert_eq!(ids(&list(&app, "kind=audio").await).len(), 7, "including the one without a status");
    assert_eq!(ids(&list(&app, "external_id=order%2017").await), ["video-queued", "image-queued", "audio-queued"]);
    assert_eq!(ids(&list(&app, "external_id=order+17&kind=image&status=queued&archive=none").await), ["image-queued"]);
    assert_eq!(ids(&list(&app, "external_id=order+17&status=rendering").await), [""; 0]);
    assert_eq!(ids(&list(&app, "external_id=order").await), [""; 0]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn renders_are_filtered_by_type_error_and_time(pool: PgPool) {
    let app = start(&pool).await;
    for number in 0..8 {
        let status = if number % 2 == 0 { Status::Error } else { Status::Complete };
        insert_render(&pool, &number.to_string(), "video", Some(status), at(number)).await;
    }
    sqlx::query("UPDATE renders SET project_type = CASE WHEN id < '4' THEN 'A B' ELSE 'C' END")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("UPDATE renders SET error_code = 'no_face' WHERE status = 'error'").execute(&pool).await.unwrap();
    let time = |seconds| at(seconds).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    for (query, expected) in [
        ("type=C".to_owned(), vec!["7", "6", "5", "4"]),
        ("type=A+B&status=error".to_owned(), vec!["2", "0"]),
        ("error=no_face".to_owned(), vec!["6", "4", "2", "0"]),
        ("error=no_face&type=C".to_owned(), vec!["6", "4"]),
        ("error=no_face&status=complete".to_owned(), vec![]),
        ("error=other".to_owned(), vec![]),
        (format!("since={}&until={}", time(2), time(5)), vec!["4", "3", "2"]),
        (format!("since={}&type=C&error=no_face", time(5)), vec!["6"]),
        (format!("until={}", time(0)), vec![]),
    ] {
        let pages = pages(&app, &format!("{query}&limit=3")).await;
        assert_eq!(pages.0, expected, "{query}");
    }
    app.stop().await.unwrap();
}

/// How often any session has read the whole table of renders, and how many of its rows through indexes.
async fn reads(one: &PgPool) -> (i64, i64) {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(one).await.unwrap();
    sqlx::query_as(
        "SELECT (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'renders'),
                (SELECT sum(idx_tup_read)::int8 FROM pg_stat_user_indexes WHERE relname = 'renders')",
    )
    .fetch_one(one)
    .await
    .unwrap()
}

/// Inserts renders of which most are alike; what the filters look for is old and rare.
async fn insert_many_renders(pool: &PgPool) {
    sqlx::query(
        "INSERT INTO renders (id, kind, status, archive, project_type, error_code, first_seen_at, last_seen_at, updated_at)
         SELECT n::text, 'video', CASE n % 10 WHEN 0 THEN 'error' ELSE 'complete' END,
                CASE n % 10 WHEN 0 THEN 'none' ELSE 'stored' END, 'COMMON', CASE n % 10 WHEN 0 THEN 'common' END, at, at, at
         FROM generate_series(1, 40000) AS n, LATERAL (SELECT $1 + n * interval '1 second' AS at) AS seen",
    )
    .bind(at(0))
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("UPDATE renders SET project_type = 'RARE' WHERE id IN ('5', '10')").execute(pool).await.unwrap();
}

#[sqlx::test]
async fn the_first_page_of_any_filter_reads_few_of_many_renders(pool: PgPool) {
    insert_many_renders(&pool).await;
    let one = connections(&pool, 1);
    let store = Store::at(&url::Url::parse("file:///tmp").unwrap(), &HashMap::new()).unwrap();
    let all = || ListFilter::default();
    let rare = Some("RARE".to_owned());
    let common = Some("common".to_owned());
    let filters = [
        (all(), 11),
        (ListFilter { project_type: rare.clone(), ..all() }, 2),
        (ListFilter { project_type: Some("NONE".to_owned()), ..all() }, 0),
        (ListFilter { error_code: common.clone(), ..all() }, 11),
        (ListFilter { error_code: common.clone(), project_type: rare, ..all() }, 1),
        (ListFilter { error_code: common, status: Some(Status::Complete), ..all() }, 0),
        (ListFilter { until: Some(at(4)), ..all() }, 3),
        (ListFilter { since: Some(at(50_000)), ..all() }, 0),
    ];
    for maintenance in ["VACUUM renders", "VACUUM (ANALYZE) renders"] {
        sqlx::query(maintenance).execute(&one).await.unwrap();
        for (filter, expected) in &filters {
            let before = reads(&one).await;
            // Often enough for a plan that is used again.
            for _ in 0..8 {
                let page = views::list(&one, &store, filter, 11).await.unwrap();
                assert_eq!(page.renders.len(), *expected, "{filter:?}");
            }
            let after = reads(&one).await;
            assert_eq!(after.0, before.0, "the table was read from end to end for {filter:?}");
            assert!(after.1 - before.1 < 1000, "{} rows were read for {filter:?}", after.1 - before.1);
        }
    }
}

/// Whether the render is complete, the states of its downloads, and the resulting archive state.
const SUMS: [(bool, &[&str], ArchiveState); 13] = [
    (false, &[], ArchiveState::None),
    (true, &[], ArchiveState::AwaitingUrls),
    (true, &["pending"], ArchiveState::Pending),
    (true, &["downloading", "pending"], ArchiveState::Pending),
    (true, &["downloading", "failed"], ArchiveState::Pending),
    (false, &["failed", "pending"], ArchiveState::Pending),
    (true, &["stored", "pending"], ArchiveState::Partial),
    (true, &["stored", "downloading", "failed"], ArchiveState::Partial),
    (true, &["failed", "stored"], ArchiveState::Partial),
    (true, &["stored"], ArchiveState::Stored),
    (true, &["stored", "stored"], ArchiveState::Stored),
    (true, &["failed"], ArchiveState::Failed),
    (true, &["failed", "failed"], ArchiveState::Failed),
];

#[sqlx::test]
async fn the_archive_state_summarizes_the_downloads_and_is_a_filter(pool: PgPool) {
    let app = start(&pool).await;
    for (number, (complete, states, _)) in SUMS.into_iter().enumerate() {
        let (id, status) = (number.to_string(), complete.then_some(Status::Complete));
        insert_render(&pool, &id, "video", status, at(0) + TimeDelta::seconds(-i64::try_from(number).unwrap())).await;
        for (index, state) in (0..).zip(states) {
            insert_download(&pool, &id, index, state).await;
        }
    }
    for (number, (complete, states, archive)) in SUMS.into_iter().enumerate() {
        assert_eq!(app.render(&number.to_string()).await["archive"], archive.as_str(), "{complete} {states:?}");
    }
    let mut found = BTreeSet::new();
    for archive in ArchiveState::ALL {
        let returned = list(&app, &format!("archive={}", archive.as_str())).await;
        let fits =
            |(number, sum): (usize, (bool, &[&str], ArchiveState))| (sum.2 == archive).then(|| number.to_string());
        let expected: Vec<_> = SUMS.into_iter().enumerate().filter_map(fits).collect();
        assert_eq!(ids(&returned), expected, "{archive:?}");
        assert!(returned["renders"].as_array().unwrap().iter().all(|render| render["archive"] == archive.as_str()));
        found.extend(expected);
    }
    assert_eq!(found.len(), SUMS.len());
    app.stop().await.unwrap();
}

/// Queries of the list with an invalid parameter, and its name.
const INVALID_QUERIES: [(&str, &str); 29] = [
    ("status=", "status"),
    ("status=Complete", "status"),
    ("status=null", "status"),
    ("status=error,complete", "status"),
    ("kind=model", "kind"),
    ("archive=all", "archive"),
    ("external_id=", "external_id"),
    ("external_id=%00", "external_id"),
    ("type=", "type"),
    ("error=%00", "error"),
    ("since=yesterday", "since"),
    ("since=2026-11-29", "since"),
    ("until=0000-01-01T00:00:00Z", "until"),
    ("until=2026-11-29T12:00:00+01:00", "until"),
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("limit=-1", "limit"),
    ("limit=99999999999999999999", "limit"),
    ("limit=ten", "limit"),
    ("limit=", "limit"),
    ("cursor=", "cursor"),
    ("cursor=clx", "cursor"),
    ("cursor=MS9jAGx4", "cursor"),
    ("cursor=%ff", "cursor"),
    ("status=complete&status=error", "status"),
    ("limit=1&limit=1", "limit"),
    ("offset=1", "offset"),
    ("Status=complete", "Status"),
    ("wait=1s", "wait"),
];

#[sqlx::test]
async fn an_invalid_parameter_gets_400_with_its_name(pool: PgPool) {
    let app = start(&pool).await;
    record(&pool, &[status_report("clx", Some(Status::Rendering), at(1))]).await;
    let long = format!("external_id={}", "x".repeat(256));
    for (query, named) in INVALID_QUERIES.into_iter().chain([(long.as_str(), "external_id")]) {
        let answer = app.get(&format!("/renders?{query}")).await;
        assert_eq!(answer.status(), 400, "{query}");
        let returned: Value = answer.json().await.unwrap();
        assert_eq!(returned.as_object().unwrap().len(), 1, "{returned}");
        let sentence = returned["message"].as_str().unwrap();
        assert!(sentence.contains(named) || query.contains("%ff"), "{query}: {sentence}");
        assert!(!sentence.contains("deserialize"), "{query}: {sentence}");
    }
    let stranger = app.client.get(app.at("/renders")).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    assert_eq!(app.client.delete(app.at("/renders")).bearer_auth("x").send().await.unwrap().status(), 405);
    assert_eq!(ids(&list(&app, "").await), ["clx"]);
    app.stop().await.unwrap();
}
