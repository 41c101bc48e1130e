//! Two workers and one file. Only the worker with the lease settles it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use renderhook::runtime::Shutdown;
use sha2::{Digest, Sha256};
use sqlx::{ConnectOptions, PgPool};

use crate::support::app::{SECRET, TOKEN, video};
use crate::support::harness::{Harness, PART, fetcher, noise, unfinished};
use crate::support::s3::S3;
use crate::support::scripted::{Origin, Step};
use crate::support::{App, Options, until};

/// The service in another process, which ends with the test.
struct Process(Child);

impl Process {
    fn start(pool: &PgPool, storage: &str, s3: Option<&S3>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_renderhook"));
        command
            .arg("serve")
            .env("DATABASE_URL", pool.connect_options().to_url_lossy().as_str())
            .env("MAGIC_HOUR_WEBHOOK_SECRET", SECRET)
            .env("API_TOKENS", TOKEN)
            .env("STORAGE_URL", storage)
            .env("DOWNLOAD_ALLOW_PRIVATE", "true")
            .env("DOWNLOAD_LEASE", "3s")
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .envs(s3.map(S3::environment).unwrap_or_default())
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Like `kill -9`.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // OK to ignore: it may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the store has the first part of a file, and there is a checkpoint. An upload that is aborted while the store
/// still receives a part may leave that part behind, in S3 too. While the S3 server receives it, it is a `.tmp.….part`.
async fn first_part(harness: &Harness, id: &str) -> Option<usize> {
    let is_whole = |name: &String| matches!(name.rsplit('.').next(), Some("part" | "part-1"));
    let there = |name: &String| is_whole(name) && !name.starts_with(".tmp.");
    harness.unfinished().iter().any(there).then_some(harness.checkpoint(id).await?)
}

async fn checkpoint(pool: &PgPool) -> Option<usize> {
    let bytes: Option<i64> = sqlx::query_scalar("SELECT max(bytes) FROM checkpoints").fetch_one(pool).await.unwrap();
    bytes.map(|bytes| bytes.try_into().unwrap())
}

/// Lets the first three parts of a file pass, each with a checkpoint.
async fn transfer_three_parts(pool: &PgPool, origin: &Origin) {
    origin.wait_for_requests(1).await;
    until("the first checkpoint", || async { checkpoint(pool).await }).await;
    // The next part arrives after a checkpoint is due.
    let begun = Instant::now();
    until("a third of the lease to pass", || async { (begun.elapsed() > Duration::from_millis(1200)).then_some(()) })
        .await;
    origin.release_until(3 * PART + 10);
    until("the checkpoint of three parts", || async { checkpoint(pool).await.filter(|bytes| *bytes >= 3 * PART) })
        .await;
}

async fn one_is_killed_and_the_other_finishes(pool: &PgPool, storage: Option<(&str, &S3)>) {
    let file = noise(4 * PART + 100_000, 1);
    let origin = Origin::start(file.clone()).await;
    // The server pauses for longer than the time between two checkpoints.
    origin.next([Step::hold(2 * PART + 10)]);
    let mut options = Options::flags(&["--download-lease=3s"]);
    if let Some((url, s3)) = storage {
        options.flags.extend(["--storage-url".to_owned(), url.to_owned()]);
        options.environment = s3.environment();
    }
    options.flags.push("--download-concurrency=0".to_owned());
    let receiver = App::start_with(pool, options).await;
    let folder = url::Url::from_file_path(receiver.folder.path()).unwrap().to_string();
    let (storage, s3) = storage.map_or((folder.as_str(), None), |(url, s3)| (url, Some(s3)));
    let mut first = Process::start(pool, storage, s3);
    let mut project = video("killed", "complete");
    project.downloads = vec![origin.url("a.mp4")];
    receiver.send("video.completed", &project).await;
    transfer_three_parts(pool, &origin).await;
    first.kill();
    let _second = Process::start(pool, storage, s3);
    let render = receiver.archived("killed", "stored").await;
    assert_eq!(render["downloads"][0]["sha256"], hex::encode(Sha256::digest(&file)));
    assert_eq!(render["downloads"][0]["attempts"], 2, "an attempt that died counts");
    assert_eq!(origin.offsets(), [0, 3 * PART as u64], "only what was missing was asked for");
    // The object, and the folder where parts would be left.
    let (object, left) = if let Some(s3) = s3 {
        (s3.path("video/killed/0-a.mp4"), s3.path("").ancestors().nth(2).unwrap().to_owned())
    } else {
        let folder = receiver.folder.path().join("video/killed");
        (folder.join("0-a.mp4"), folder)
    };
    assert!(std::fs::read(&object).unwrap() == file);
    until("every part to be gone", || async { unfinished(&left).is_empty().then_some(()) }).await;
}

#[sqlx::test]
async fn another_process_resumes_into_a_folder_after_a_kill(pool: PgPool) {
    one_is_killed_and_the_other_finishes(&pool, None).await;
}

#[sqlx::test]
async fn another_process_resumes_into_a_bucket_after_a_kill(pool: PgPool) {
    let s3 = S3::start().await;
    one_is_killed_and_the_other_finishes(&pool, Some((&S3::url(), &s3))).await;
}

#[sqlx::test]
async fn a_worker_without_its_lease_settles_nothing_and_does_not_touch_the_next_workers_file(pool: PgPool) {
    let file = noise(2 * PART + 100_000, 2);
    for (harness, store) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        for (way, first) in [("whole", Step::hold(1000)), ("parts", Step::hold(PART + 10)), ("denied", Step::hold(10))]
        {
            let id = &format!("{store}-{way}");
            let origin = Origin::start(file.clone()).await;
            origin.next([first]);
            harness.queue(id, origin.url("a.mp4")).await;
            let (loser, _stop) = harness.begin(id).await;
            origin.wait_for_requests(1).await;
            if way == "parts" {
                until("the first part to be there", || first_part(harness, id)).await;
            }
            // Its lease expires, and another worker takes over.
            let successor = harness.claim_over(id).await;
            harness.successor().process(successor, &Shutdown::default()).await;
            harness.assert_stored(id, &file).await;
            let before = harness.row(id).await;
            origin.release();
            loser.await.unwrap();
            harness.assert_stored(id, &file).await;
            assert_eq!(format!("{before:?}"), format!("{:?}", harness.row(id).await), "{id}");
        }
    }
}

#[sqlx::test]
async fn a_worker_without_its_lease_that_fails_permanently_does_not_touch_the_next_workers_upload(pool: PgPool) {
    let file = noise(2 * PART + 100_000, 3);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(file.clone()).await;
        // The first worker's answer is slow, and then announces a file that is too large.
        let large = Step { hold_head: true, ..Step::default() }.with("content-length", (2_u64 << 30).to_string());
        origin.next([large, Step::hold(PART + 10)]);
        harness.queue(id, origin.url("a.mp4")).await;
        let (loser, _stop) = harness.begin(id).await;
        origin.wait_for_requests(1).await;
        let successor = harness.claim_over(id).await;
        let (downloader, stop) = (harness.successor(), Shutdown::default());
        let winner = tokio::spawn(async move { Box::pin(downloader.process(successor, &stop)).await });
        until("the successor's first checkpoint", || async { harness.checkpoint(id).await }).await;
        origin.release_heads();
        loser.await.unwrap();
        assert_eq!(harness.row(id).await.outcome(), ("downloading", None), "{id}");
        assert_ne!(harness.unfinished(), Vec::<String>::new(), "{id}: the successor's upload is gone");
        origin.release();
        winner.await.unwrap();
        harness.assert_stored(id, &file).await;
    }
}

#[sqlx::test]
async fn a_worker_without_its_lease_does_not_abort_the_upload_that_the_next_worker_resumed(pool: PgPool) {
    let (file, changed) = (noise(2 * PART + 100_000, 7), noise(2 * PART + 100_000, 8));
    for (harness, id) in Harness::both(&pool).await.into_iter().zip(["folder", "bucket"]) {
        // No server stalls by itself.
        let patient = fetcher(1 << 30).with_timeout(Duration::from_mins(1));
        let harness = harness.with(|downloader| downloader.fetcher = patient);
        let origin = Origin::start(file.clone()).await;
        origin.next([Step::cut(PART + 10), Step::status(503)]);
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.outcome(), ("pending", Some("http_503")), "{id}");
        // Two workers resume the same upload.
        origin.next([Step { cut: Some(2000), hold: Some(1000), ..Step::default() }, Step::hold(3000)]);
        let (loser, _stop) = harness.begin(id).await;
        origin.wait_for_requests(3).await;
        until("the loser to have the upload", || holder_of_upload(&harness, id)).await;
        let successor = harness.claim_over(id).await;
        let (downloader, stop) = (harness.successor(), Shutdown::default());
        let winner = tokio::spawn(async move { Box::pin(downloader.process(successor, &stop)).await });
        origin.wait_for_requests(4).await;
        until("the successor to have the upload", || holder_of_upload(&harness, id)).await;
        // The first worker's transfer breaks off, and the rest is of another version, so it cannot be resumed.
        origin.change(changed.clone());
        origin.release_until(2000);
        loser.await.unwrap();
        let part = PART as u64;
        assert_eq!(origin.offsets(), [0, part + 10, part, part, part + 2000], "{id}");
        assert_ne!(harness.unfinished(), Vec::<String>::new(), "{id}: the successor's upload is gone");
        origin.release();
        winner.await.unwrap();
        harness.assert_stored(id, &file).await;
        assert_eq!(origin.requests().len(), 5, "{id}: the successor did not start over");
    }
}

/// Waits until the upload belongs to the worker with the lease. In a folder, it then has the lease's name.
async fn holder_of_upload(harness: &Harness, id: &str) -> Option<String> {
    let upload = "SELECT upload FROM checkpoints JOIN downloads USING (render_id, index)
                  WHERE render_id = $1 AND (upload LIKE '{%' OR upload LIKE '%' || replace(lease::text, '-', '') || '%')";
    sqlx::query_scalar(upload).bind(id).fetch_optional(&harness.pool).await.unwrap()
}

#[sqlx::test]
async fn a_transfer_is_stopped_soon_after_its_lease_is_lost(pool: PgPool) {
    let harness = Harness::folder(&pool).with(|downloader| downloader.lease = Duration::from_millis(300));
    let origin = Origin::start(noise(1000, 4)).await;
    origin.next([Step::hold(500)]);
    harness.queue("lost", origin.url("a.mp4")).await;
    let (loser, _stop) = harness.begin("lost").await;
    origin.wait_for_requests(1).await;
    harness.claim_over("lost").await;
    loser.await.unwrap();
    assert_eq!(harness.row("lost").await.outcome(), ("downloading", None));
    harness.assert_nothing("lost").await;
}

#[sqlx::test]
async fn a_stop_releases_the_download_with_its_checkpoint(pool: PgPool) {
    let file = noise(2 * PART, 5);
    let origin = Origin::start(file).await;
    origin.next([Step::hold(PART + 10)]);
    let app = App::start(&pool).await;
    let mut project = video("back", "complete");
    project.downloads = vec![origin.url("a.mp4")];
    app.send("video.completed", &project).await;
    until("the first checkpoint", || async { checkpoint(&pool).await }).await;
    app.stop().await.unwrap();
    let row = sqlx::query_as("SELECT state, attempts, bytes FROM downloads JOIN checkpoints USING (render_id, index)");
    let row: (String, i32, i64) = row.fetch_one(&pool).await.unwrap();
    assert_eq!(row, ("pending".to_owned(), 0, i64::try_from(PART).unwrap()));
}

#[sqlx::test]
async fn a_file_that_crashes_every_worker_fails(pool: PgPool) {
    for (harness, id) in Harness::both(&pool).await.into_iter().zip(["folder", "bucket"]) {
        let harness = harness.with(|downloader| downloader.max_attempts = 2);
        let origin = Origin::start(noise(2 * PART, 6)).await;
        origin.next([Step { hold_head: true, ..Step::default() }, Step::hold(PART + 10)]);
        harness.queue(id, origin.url("a.mp4")).await;
        for attempt in 1..=2 {
            let (worker, _stop) = harness.begin(id).await;
            origin.wait_for_requests(attempt).await;
            if attempt == 2 {
                until("the first part to be there", || first_part(&harness, id)).await;
            }
            // Like a killed process, it settles nothing.
            worker.abort();
            assert!(worker.await.unwrap_err().is_cancelled());
        }
        let row = harness.attempt(id).await;
        assert_eq!((row.outcome(), row.attempts), (("failed", Some("lease_ran_out")), 2), "{id}");
        assert!(row.error_message.unwrap().starts_with("gave up after 2 attempts since 20"));
        assert_eq!(origin.requests().len(), 2, "{id}: there is no third attempt");
        harness.assert_nothing(id).await;
    }
}
