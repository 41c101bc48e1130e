//! The queue of downloads: one lease at a time, and nothing for who lost it.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::archive::queue;
use renderhook::archive::{Claimed, LeaseLost, Reason, Room, Stored};
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::support::words::{at, completed, connections, now, record};

const LEASE: Duration = Duration::from_mins(1);

/// The renders `r0`, `r1` … with so many files each, due [`now`].
async fn fill(pool: &PgPool, renders: usize, files: usize) {
    let urls: Vec<_> = (0..files).map(|file| format!("https://files.example/{file}.mp4")).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let words: Vec<_> = (0..renders).map(|render| completed(&format!("r{render}"), &urls, None, at(1))).collect();
    record(pool, &words).await;
}

async fn claim(pool: &PgPool, now: DateTime<Utc>, limit: i64) -> Vec<Claimed> {
    queue::claim(pool, now, LEASE, &Room { limit, per_host: limit, ..Room::default() }).await.unwrap()
}

/// Claims the only download that is due.
async fn claim_one(pool: &PgPool, now: DateTime<Utc>) -> Claimed {
    let mut claimed = claim(pool, now, 10).await;
    assert_eq!(claimed.len(), 1);
    claimed.remove(0)
}

/// The first file of `r0`, column by column.
async fn row(pool: &PgPool) -> Value {
    sqlx::query_scalar("SELECT to_jsonb(d) FROM downloads AS d WHERE render_id = 'r0' AND index = 0")
        .fetch_one(pool)
        .await
        .unwrap()
}

fn reason() -> Reason {
    Reason { code: "http_503".to_owned(), message: "the server is busy".to_owned() }
}

fn object() -> Stored {
    Stored { content_type: "video/mp4".to_owned(), size_bytes: 7, sha256: "ab".repeat(32) }
}

fn moment(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[sqlx::test]
async fn eight_workers_claim_every_download_once(pool: PgPool) {
    fill(&pool, 4, 50).await;
    let pools = [connections(&pool, 4), connections(&pool, 4)];
    let mut workers = JoinSet::new();
    for pool in pools.iter().cycle().take(8) {
        let pool = pool.clone();
        workers.spawn(async move {
            let mut all = Vec::new();
            loop {
                let claimed = claim(&pool, now(), 3).await;
                if claimed.is_empty() {
                    return all;
                }
                assert!(claimed.len() <= 3);
                all.extend(claimed);
            }
        });
    }
    let claimed: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    let places: HashSet<_> = claimed.iter().map(|it| (it.lease.render_id().clone(), it.lease.index())).collect();
    let tokens: HashSet<_> = claimed.iter().map(|it| it.lease.token()).collect();
    assert_eq!((claimed.len(), places.len(), tokens.len()), (200, 200, 200));
    assert!(claimed.iter().all(|it| it.attempt == 1 && !it.taken_over && it.first_attempt_at == now()));
}

#[sqlx::test]
async fn a_lease_that_ran_out_is_taken_over_and_who_lost_it_changes_nothing(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let old = claim_one(&pool, now()).await;
    let end = now() + LEASE;
    assert_eq!(claim(&pool, end - TimeDelta::microseconds(1), 10).await.len(), 0);
    let new = claim_one(&pool, end).await;
    assert!(new.taken_over);
    assert_eq!((new.attempt, new.first_attempt_at), (2, now()));
    assert_ne!(new.lease.token(), old.lease.token());

    let before = row(&pool).await;
    let later = end + TimeDelta::seconds(1);
    let lost = [
        queue::renew(&pool, &old.lease, later).await.unwrap(),
        queue::stored(&pool, &old.lease, &object(), false, later).await.unwrap(),
        queue::retry(&pool, &old.lease, &reason(), later, later).await.unwrap(),
        queue::failed(&pool, &old.lease, 1, &reason(), later).await.unwrap(),
        queue::release(&pool, &old.lease, later).await.unwrap(),
    ];
    assert_eq!(lost, [Err(LeaseLost); 5]);
    assert_eq!(row(&pool).await, before);
    assert_eq!(queue::stored(&pool, &new.lease, &object(), false, later).await.unwrap(), Ok(()));
}

#[sqlx::test]
async fn a_lease_ends_with_what_settles_it(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let first = claim_one(&pool, now()).await.lease;
    assert_eq!(queue::stored(&pool, &first, &object(), false, now()).await.unwrap(), Ok(()));
    let stored = row(&pool).await;
    assert_eq!((&stored["state"], &stored["lease"], &stored["due_at"]), (&"stored".into(), &Value::Null, &Value::Null));
    assert_eq!(queue::failed(&pool, &first, 1, &reason(), now()).await.unwrap(), Err(LeaseLost));
    assert_eq!(queue::stored(&pool, &first, &object(), false, now()).await.unwrap(), Err(LeaseLost));
    assert_eq!(row(&pool).await, stored);
    assert_eq!(claim(&pool, at(1_000_000), 10).await.len(), 0);
}

#[sqlx::test]
async fn a_renewed_lease_is_not_taken_over_before_its_new_end(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    let until = now() + 2 * LEASE;
    assert_eq!(queue::renew(&pool, &claimed.lease, until).await.unwrap(), Ok(()));
    assert_eq!(claim(&pool, until - TimeDelta::microseconds(1), 10).await.len(), 0);
    assert!(claim_one(&pool, until).await.taken_over);
}

#[sqlx::test]
async fn a_release_gives_the_attempt_back_and_the_download_to_the_next(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    assert_eq!(queue::release(&pool, &claimed.lease, now()).await.unwrap(), Ok(()));
    let released = row(&pool).await;
    assert_eq!((&released["state"], &released["attempts"]), (&"pending".into(), &0.into()));
    let next = claim_one(&pool, now()).await;
    assert_eq!((next.attempt, next.taken_over), (1, false));
}

#[sqlx::test]
async fn a_retry_is_due_when_it_says_and_tells_why(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    let due = now() + TimeDelta::seconds(600);
    assert_eq!(queue::retry(&pool, &claimed.lease, &reason(), due, now()).await.unwrap(), Ok(()));
    assert_eq!(queue::next_due(&pool, &[]).await.unwrap(), Some(due));
    let row = row(&pool).await;
    assert_eq!((&row["state"], &row["error_code"]), (&"pending".into(), &"http_503".into()));
    assert_eq!(moment(&row["due_at"]), due);
    assert_eq!(claim(&pool, due - TimeDelta::microseconds(1), 10).await.len(), 0);
    assert_eq!(claim_one(&pool, due).await.attempt, 2);
}

#[sqlx::test]
async fn what_has_failed_is_not_claimed_again(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    assert_eq!(queue::failed(&pool, &claimed.lease, 1, &reason(), now()).await.unwrap(), Ok(()));
    assert_eq!(row(&pool).await["state"], "failed");
    assert_eq!(queue::next_due(&pool, &[]).await.unwrap(), None);
    assert_eq!(claim(&pool, at(1_000_000), 10).await.len(), 0);
}

#[sqlx::test]
async fn what_expires_soonest_is_claimed_first(pool: PgPool) {
    let url = ["https://files.example/a.mp4"];
    let expiries = [("later", Some(at(50_000))), ("never told", None), ("soonest", Some(at(20_000)))];
    for (id, expires_at) in expiries {
        record(&pool, &[completed(id, &url, expires_at, at(1))]).await;
    }
    let mut order = Vec::new();
    while let Some(claimed) = claim(&pool, now(), 1).await.pop() {
        order.push(claimed.lease.render_id().to_string());
    }
    assert_eq!(order, ["soonest", "later", "never told"]);
}

#[sqlx::test]
async fn a_fresh_url_reaches_who_claims_next_and_leaves_the_lease_alone(pool: PgPool) {
    record(&pool, &[completed("r0", &["https://files.example/old.mp4"], Some(at(20_000)), at(1))]).await;
    let first = claim_one(&pool, now()).await;
    record(&pool, &[completed("r0", &["https://files.example/new.mp4"], Some(at(30_000)), at(2))]).await;
    assert_eq!(queue::renew(&pool, &first.lease, now() + LEASE).await.unwrap(), Ok(()));
    assert_eq!(claim(&pool, now(), 10).await.len(), 0);
    let next = claim_one(&pool, now() + LEASE).await;
    assert_eq!(next.url.unwrap().expose().as_str(), "https://files.example/new.mp4");
    // Somebody may have begun to write there: the object stays where it was to go.
    assert_eq!((first.key.as_str(), &next.key), ("video/r0/0-old.mp4", &first.key));
}

#[sqlx::test]
async fn a_file_whose_url_comes_later_is_named_by_it(pool: PgPool) {
    record(&pool, &[completed("r0", &["no url"], None, at(1))]).await;
    assert_eq!(row(&pool).await["error_code"], "no_url");
    record(&pool, &[completed("r0", &["https://files.example/output.mp4"], None, at(2))]).await;
    let claimed = claim_one(&pool, now()).await;
    assert_eq!(claimed.key.as_str(), "video/r0/0-output.mp4");
    assert_eq!(row(&pool).await["error_code"], Value::Null);
}

#[sqlx::test]
async fn a_claim_among_many_settled_downloads_reads_the_index_and_not_the_table(pool: PgPool) {
    fill(&pool, 1, 1).await;
    // 20,000 files, of which 100 are due.
    sqlx::query(
        "INSERT INTO downloads (render_id, index, state, url, url_observed_at, key, due_at, stored_at, size_bytes, sha256,
                                updated_at)
         SELECT 'r0', n, CASE WHEN due THEN 'pending' ELSE 'stored' END, 'https://files.example/' || n, $1, 'key/' || n,
                CASE WHEN due THEN $1 END, CASE WHEN NOT due THEN $1 END, CASE WHEN NOT due THEN 1 END,
                CASE WHEN NOT due THEN repeat('a', 64) END, $1
         FROM generate_series(1, 20000) AS n, LATERAL (SELECT n % 200 = 0 AS due) AS _",
    )
    .bind(now())
    .execute(&pool)
    .await
    .unwrap();
    let one = connections(&pool, 1);
    sqlx::query("ANALYZE downloads").execute(&one).await.unwrap();
    let before = scans(&one).await;
    assert_eq!(claim(&one, now(), 8).await.len(), 8);
    assert!(queue::next_due(&one, &[]).await.unwrap().is_some());
    let after = scans(&one).await;
    assert_eq!(after.0, before.0, "the table was read from end to end");
    assert!(after.1 >= before.1 + 2, "{before:?} {after:?}");
}

/// How often this session and others have read the whole table, and its index of what is due.
async fn scans(one: &PgPool) -> (i64, i64) {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(one).await.unwrap();
    sqlx::query_as(
        "SELECT (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'downloads'),
                (SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'downloads_due')",
    )
    .fetch_one(one)
    .await
    .unwrap()
}
