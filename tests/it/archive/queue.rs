//! The queue of downloads: one lease at a time, and a worker that lost its lease changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::archive::{
    AttemptOutcome, AttemptReport, Capacity, ClaimedDownload, Failure, LeaseError, Reason, Settlement, Settler,
    StoredObject, claim_downloads, next_due_download, renew_lease,
};
use renderhook::runtime::Database;
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::support::observations::{at, completed, connections, now, record};

const LEASE: Duration = Duration::from_mins(1);

/// The renders `r0`, `r1` … with this many files each, due [`now`].
async fn fill(pool: &PgPool, renders: usize, files: usize) {
    let urls: Vec<_> = (0..files).map(|file| format!("https://files.example/{file}.mp4")).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let words: Vec<_> = (0..renders).map(|render| completed(&format!("r{render}"), &urls, None, at(1))).collect();
    record(pool, &words).await;
}

fn database(pool: &PgPool) -> Database {
    Database::from_pool(pool.clone())
}

async fn claim(pool: &PgPool, now: DateTime<Utc>, limit: i64) -> Vec<ClaimedDownload> {
    let capacity = Capacity { limit, per_host: limit, ..Capacity::default() };
    claim_downloads(&database(pool), now, LEASE, &capacity).await.unwrap()
}

async fn renew(pool: &PgPool, claimed: &ClaimedDownload, until: DateTime<Utc>) -> Result<(), LeaseError> {
    renew_lease(&database(pool), &claimed.lease, until).await
}

fn attempt(claimed: &ClaimedDownload, outcome: AttemptOutcome, ended_at: DateTime<Utc>) -> AttemptReport {
    AttemptReport {
        outcome,
        number: claimed.attempt,
        first_at: claimed.first_attempt_at,
        url: claimed.url.as_ref().ok().cloned(),
        max_attempts: 20,
        renews: false,
        deletes: false,
        chance: 0.0,
        ended_at,
    }
}

async fn settle(
    pool: &PgPool,
    claimed: &ClaimedDownload,
    outcome: AttemptOutcome,
    ended_at: DateTime<Utc>,
) -> Result<Settlement, LeaseError> {
    Settler::default().settle(&database(pool), &claimed.lease, attempt(claimed, outcome, ended_at)).await
}

/// Claims the only download that is due.
async fn claim_one(pool: &PgPool, now: DateTime<Utc>) -> ClaimedDownload {
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

fn busy(retry_after: Option<Duration>) -> AttemptOutcome {
    AttemptOutcome::Failed(Failure::Transient { reason: reason(), retry_after })
}

fn refused() -> AttemptOutcome {
    AttemptOutcome::Failed(Failure::Permanent { reason: reason() })
}

fn object() -> StoredObject {
    StoredObject { content_type: "video/mp4".to_owned(), size_bytes: 7, sha256: "ab".repeat(32) }
}

fn stored() -> AttemptOutcome {
    AttemptOutcome::Stored(object())
}

fn parse_time(value: &Value) -> DateTime<Utc> {
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
async fn an_expired_lease_is_taken_over_and_the_worker_that_lost_it_changes_nothing(pool: PgPool) {
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
    assert!(matches!(renew(&pool, &old, later).await, Err(LeaseError::Lost)));
    for outcome in [stored(), busy(None), refused(), AttemptOutcome::Interrupted, AttemptOutcome::LeasesExpired] {
        let settled = settle(&pool, &old, outcome, later).await;
        assert!(matches!(settled, Err(LeaseError::Lost)), "{settled:?}");
    }
    assert_eq!(row(&pool).await, before);
    assert_eq!(settle(&pool, &new, stored(), later).await.unwrap(), Settlement::Stored(object()));
}

#[sqlx::test]
async fn a_lease_ends_when_its_download_is_settled(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    settle(&pool, &claimed, stored(), now()).await.unwrap();
    let settled = row(&pool).await;
    let columns = (&settled["state"], &settled["lease"], &settled["due_at"]);
    assert_eq!(columns, (&"stored".into(), &Value::Null, &Value::Null));
    for outcome in [refused(), stored()] {
        assert!(matches!(settle(&pool, &claimed, outcome, now()).await, Err(LeaseError::Lost)));
    }
    assert_eq!(row(&pool).await, settled);
    assert_eq!(claim(&pool, at(1_000_000), 10).await.len(), 0);
}

#[sqlx::test]
async fn a_renewed_lease_is_not_taken_over_before_its_new_end(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    let until = now() + 2 * LEASE;
    renew(&pool, &claimed, until).await.unwrap();
    assert_eq!(claim(&pool, until - TimeDelta::microseconds(1), 10).await.len(), 0);
    assert!(claim_one(&pool, until).await.taken_over);
}

#[sqlx::test]
async fn a_release_gives_the_attempt_back_and_the_download_to_the_next_worker(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    assert_eq!(settle(&pool, &claimed, AttemptOutcome::Interrupted, now()).await.unwrap(), Settlement::Release);
    let released = row(&pool).await;
    assert_eq!((&released["state"], &released["attempts"]), (&"pending".into(), &0.into()));
    let next = claim_one(&pool, now()).await;
    assert_eq!((next.attempt, next.taken_over), (1, false));
}

#[sqlx::test]
async fn a_retry_is_due_at_its_time_and_keeps_the_error(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    let due = now() + TimeDelta::seconds(600);
    settle(&pool, &claimed, busy(Some(Duration::from_mins(10))), now()).await.unwrap();
    assert_eq!(next_due_download(&database(&pool), &[]).await.unwrap(), Some(due));
    let row = row(&pool).await;
    assert_eq!((&row["state"], &row["error_code"]), (&"pending".into(), &"http_503".into()));
    assert_eq!(parse_time(&row["due_at"]), due);
    assert_eq!(claim(&pool, due - TimeDelta::microseconds(1), 10).await.len(), 0);
    assert_eq!(claim_one(&pool, due).await.attempt, 2);
}

#[sqlx::test]
async fn a_failed_download_is_not_claimed_again(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let claimed = claim_one(&pool, now()).await;
    settle(&pool, &claimed, refused(), now()).await.unwrap();
    assert_eq!(row(&pool).await["state"], "failed");
    assert_eq!(next_due_download(&database(&pool), &[]).await.unwrap(), None);
    assert_eq!(claim(&pool, at(1_000_000), 10).await.len(), 0);
}

#[sqlx::test]
async fn attempts_that_end_together_settle_together_and_each_gets_its_own_answer(pool: PgPool) {
    fill(&pool, 10, 10).await;
    let claimed = claim(&pool, now(), 100).await;
    assert_eq!(claimed.len(), 100);
    // One lost its lease, and one is not accepted by the database.
    let later = now() + TimeDelta::seconds(1);
    sqlx::query("UPDATE downloads SET lease = gen_random_uuid() WHERE render_id = 'r3' AND index = 3")
        .execute(&pool)
        .await
        .unwrap();
    let (settler, database) = (Settler::default(), database(&pool));
    let settled = claimed.iter().map(|claimed| {
        let place = (claimed.lease.render_id().to_string(), claimed.lease.index());
        let outcome = match (place.0.as_str(), place.1) {
            ("r5", 5) => AttemptOutcome::Stored(StoredObject { sha256: "not hex".to_owned(), ..object() }),
            (_, 0) => refused(),
            (_, 1) => busy(None),
            _ => stored(),
        };
        let settled = settler.settle(&database, &claimed.lease, attempt(claimed, outcome, later));
        async move { (place, settled.await) }
    });
    for ((render, index), settled) in futures::future::join_all(settled).await {
        match (render.as_str(), index, settled) {
            ("r3", 3, Err(LeaseError::Lost))
            | ("r5", 5, Err(LeaseError::Database(_)))
            | (_, 0, Ok(Settlement::GiveUp { .. }))
            | (_, 1, Ok(Settlement::Retry { .. }))
            | (_, 2.., Ok(Settlement::Stored(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    let states = "SELECT state, count(*) FROM downloads GROUP BY state ORDER BY state";
    let states: Vec<(String, i64)> = sqlx::query_as(states).fetch_all(&pool).await.unwrap();
    let expected = [("downloading", 2), ("failed", 10), ("pending", 10), ("stored", 78)];
    assert_eq!(states, expected.map(|(state, count)| (state.to_owned(), count)));
    assert_counts_with_two_unsettled(&pool).await;
}

/// Checks the counts that are stored with the renders: file 3 of `r3` and file 5 of `r5` are not settled.
async fn assert_counts_with_two_unsettled(pool: &PgPool) {
    let counts = "SELECT id, files_total, files_stored, files_failed, archive FROM renders ORDER BY id";
    let counts: Vec<(String, i32, i32, i32, String)> = sqlx::query_as(counts).fetch_all(pool).await.unwrap();
    for (id, total, stored, failed, archive) in counts {
        let missing = i32::from(id == "r3" || id == "r5");
        assert_eq!((total, stored, failed, archive.as_str()), (10, 8 - missing, 1, "partial"), "{id}");
    }
}

#[sqlx::test]
async fn two_processes_settle_the_files_of_the_same_renders_without_deadlock(pool: PgPool) {
    fill(&pool, 5, 40).await;
    let mut workers = JoinSet::new();
    for claimed in [claim(&pool, now(), 100).await, claim(&pool, now(), 100).await] {
        let database = database(&connections(&pool, 3));
        workers.spawn(async move {
            let settler = Settler::default();
            // Backward in one process, as the claims come in the other.
            let settled = claimed
                .iter()
                .rev()
                .map(|claimed| settler.settle(&database, &claimed.lease, attempt(claimed, stored(), now())));
            futures::future::join_all(settled).await.into_iter().all(|settled| settled.is_ok())
        });
    }
    assert_eq!(workers.join_all().await, [true, true]);
    let archives = "SELECT DISTINCT archive, files_stored FROM renders";
    let archives: Vec<(String, i32)> = sqlx::query_as(archives).fetch_all(&pool).await.unwrap();
    assert_eq!(archives, [("stored".to_owned(), 40)]);
}

#[sqlx::test]
async fn times_that_a_fast_clock_recorded_do_not_strand_a_download(pool: PgPool) {
    fill(&pool, 1, 1).await;
    let day = TimeDelta::days(1);
    // The clock was a day ahead while an attempt failed.
    let claimed = claim_one(&pool, now() + day).await;
    settle(&pool, &claimed, busy(None), now() + day).await.unwrap();
    // It is right again: the next attempt would be a day away. A worker claims it, and the clock jumps again.
    let claimed = claim_one(&pool, now()).await;
    renew(&pool, &claimed, now() + day).await.unwrap();
    assert!(claim_one(&pool, now()).await.taken_over);
}

#[sqlx::test]
async fn what_expires_soonest_is_claimed_first(pool: PgPool) {
    let url = ["https://files.example/a.mp4"];
    let expiries = [("later", Some(at(50_000))), ("unknown", None), ("soonest", Some(at(20_000)))];
    for (id, expires_at) in expiries {
        record(&pool, &[completed(id, &url, expires_at, at(1))]).await;
    }
    let mut order = Vec::new();
    while let Some(claimed) = claim(&pool, now(), 1).await.pop() {
        order.push(claimed.lease.render_id().to_string());
    }
    assert_eq!(order, ["soonest", "later", "unknown"]);
}

#[sqlx::test]
async fn a_fresh_url_reaches_the_next_worker_and_leaves_the_lease_alone(pool: PgPool) {
    record(&pool, &[completed("r0", &["https://files.example/old.mp4"], Some(at(20_000)), at(1))]).await;
    let first = claim_one(&pool, now()).await;
    record(&pool, &[completed("r0", &["https://files.example/new.mp4"], Some(at(30_000)), at(2))]).await;
    renew(&pool, &first, now() + LEASE).await.unwrap();
    assert_eq!(claim(&pool, now(), 10).await.len(), 0);
    let next = claim_one(&pool, now() + LEASE).await;
    assert_eq!(next.url.unwrap().expose().as_str(), "https://files.example/new.mp4");
    // A worker may have begun to write there, so the key stays.
    assert_eq!((first.key.as_str(), &next.key), ("video/r0/0-old.mp4", &first.key));
}

#[sqlx::test]
async fn a_file_whose_url_arrives_later_is_named_after_it(pool: PgPool) {
    record(&pool, &[completed("r0", &["no url"], None, at(1))]).await;
    assert_eq!(row(&pool).await["error_code"], "no_url");
    record(&pool, &[completed("r0", &["https://files.example/output.mp4"], None, at(2))]).await;
    let claimed = claim_one(&pool, now()).await;
    assert_eq!(claimed.key.as_str(), "video/r0/0-output.mp4");
    assert_eq!(row(&pool).await["error_code"], Value::Null);
}

/// A download of `r0` for each of `numbers`, whose URL is at `host` and expires so many seconds after [`now`].
async fn backlog(pool: &PgPool, host: &str, numbers: std::ops::Range<i32>, expires_after: impl Fn(i32) -> f64) {
    let (numbers, seconds): (Vec<_>, Vec<_>) = numbers.map(|number| (number, expires_after(number))).unzip();
    sqlx::query(
        "INSERT INTO downloads (render_id, index, state, url, host, expires_at, url_observed_at, key, due_at, updated_at)
         SELECT 'r0', n, 'pending', 'https://' || $2 || '/' || n, $2, $1 + seconds * interval '1 second', $1, 'key/' || n, $1, $1
         FROM unnest($3::int4[], $4::float8[]) AS file (n, seconds)",
    )
    .bind(now())
    .bind(host)
    .bind(numbers)
    .bind(seconds)
    .execute(pool)
    .await
    .unwrap();
}

#[sqlx::test]
async fn in_a_large_backlog_the_most_urgent_go_first_whatever_came_when(pool: PgPool) {
    fill(&pool, 1, 0).await;
    // In an order that has nothing to do with that of the rows; 7919 is prime.
    let expires_after = |number: i32| f64::from(number * 7919 % 5000);
    backlog(&pool, "videos.example", 0..2500, expires_after).await;
    backlog(&pool, "images.example", 2500..5000, expires_after).await;
    // The last to come is the most urgent.
    backlog(&pool, "videos.example", 5000..5001, |_| -1.0).await;
    let mut order = Vec::new();
    for limit in [1, 8, 32, 300] {
        let claimed = claim(&pool, now(), limit).await;
        assert_eq!(claimed.len(), usize::try_from(limit).unwrap());
        order.push(claimed.iter().map(|it| it.expires_at.unwrap()).collect::<Vec<_>>());
    }
    for batch in &mut order {
        batch.sort();
    }
    let seconds = order.concat().into_iter().map(|expires_at| (expires_at - now()).num_seconds());
    assert_eq!(seconds.collect::<Vec<_>>(), (-1..340).collect::<Vec<_>>());
}

#[sqlx::test]
async fn an_urgent_host_leaves_a_place_to_the_others(pool: PgPool) {
    fill(&pool, 1, 0).await;
    backlog(&pool, "slow.example", 0..3000, f64::from).await;
    backlog(&pool, "fast.example", 3000..3010, f64::from).await;
    let hosts = |claimed: &[ClaimedDownload]| {
        let count = |host| claimed.iter().filter(|it| it.url.as_ref().unwrap().host() == host).count();
        (count("slow.example"), count("fast.example"))
    };
    let capacity = Capacity { limit: 8, per_host: 7, in_progress: Vec::new() };
    let first = claim_downloads(&database(&pool), now(), LEASE, &capacity).await.unwrap();
    assert_eq!(hosts(&first), (7, 1));
    // The one place that is free again is not for the host that has its share.
    let capacity = Capacity { limit: 1, per_host: 7, in_progress: vec![("slow.example".to_owned(), 7)] };
    let next = claim_downloads(&database(&pool), now(), LEASE, &capacity).await.unwrap();
    assert_eq!(hosts(&next), (0, 1));
    let in_progress = vec![("slow.example".to_owned(), 5), ("fast.example".to_owned(), 7)];
    let capacity = Capacity { limit: 8, per_host: 7, in_progress };
    let rest = claim_downloads(&database(&pool), now(), LEASE, &capacity).await.unwrap();
    assert_eq!(hosts(&rest), (2, 0));
}

#[sqlx::test]
async fn a_claim_reads_only_what_it_takes(pool: PgPool) {
    fill(&pool, 1, 0).await;
    // Much that is more urgent and waits for a later time, much that is due and less urgent, much that is stored.
    backlog(&pool, "files.example", 0..20_000, f64::from).await;
    sqlx::query("UPDATE downloads SET ready = false, due_at = $1")
        .bind(now() + TimeDelta::minutes(10))
        .execute(&pool)
        .await
        .unwrap();
    backlog(&pool, "files.example", 20_000..40_000, f64::from).await;
    sqlx::query(
        "INSERT INTO downloads (render_id, index, state, url, url_observed_at, key, stored_at, size_bytes, sha256, updated_at)
         SELECT 'r0', n, 'stored', 'https://files.example/' || n, $1, 'key/' || n, $1, 1, repeat('a', 64), $1
         FROM generate_series(40000, 59999) AS n",
    )
    .bind(now())
    .execute(&pool)
    .await
    .unwrap();
    let one = connections(&pool, 1);
    // Whether Postgres has statistics or not. The updates above left dead index entries, which are not what is measured.
    for maintenance in ["VACUUM downloads", "VACUUM (ANALYZE) downloads"] {
        sqlx::query(maintenance).execute(&one).await.unwrap();
        let before = reads(&one).await;
        // Often enough for a plan that is used again.
        for _ in 0..8 {
            assert_eq!(claim(&one, now(), 8).await.len(), 8);
            assert!(next_due_download(&database(&one), &[]).await.unwrap().is_some());
        }
        let after = reads(&one).await;
        assert_eq!(after.0, before.0, "the table was read from end to end");
        assert!(after.1 - before.1 < 2000, "{} rows were read for 64", after.1 - before.1);
    }
}

/// How often any session has read the whole table of downloads, and how many of its rows through indexes.
async fn reads(one: &PgPool) -> (i64, i64) {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(one).await.unwrap();
    sqlx::query_as(
        "SELECT (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'downloads'),
                (SELECT sum(idx_tup_read)::int8 FROM pg_stat_user_indexes WHERE relname = 'downloads')",
    )
    .fetch_one(one)
    .await
    .unwrap()
}

#[sqlx::test]
async fn many_retries_that_fall_due_at_once_are_all_claimed(pool: PgPool) {
    fill(&pool, 1, 0).await;
    backlog(&pool, "files.example", 0..2500, f64::from).await;
    sqlx::query("UPDATE downloads SET ready = false").execute(&pool).await.unwrap();
    let mut claimed = 0;
    loop {
        match claim(&pool, now(), 400).await.len() {
            0 => break,
            more => claimed += more,
        }
    }
    assert_eq!(claimed, 2500);
}
