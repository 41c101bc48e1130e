//! A downloader that makes single attempts when a test requests them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::archive::{
    Capacity, ClaimedDownload, Downloader, Fetcher, Guard, Settler, Store, StoreHealth, claim_downloads,
};
use renderhook::domain::{Kind, Payload};
use renderhook::intake::{self, Observation, RecordRules};
use renderhook::runtime::{Clock, Database, Shutdown};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use url::Url;

use super::app::video;
use super::s3::S3;
use super::s3_proxy::S3Proxy;
use super::wait::until_no_differences;

/// The size of a part. The stored length of a partial file is a multiple of it.
pub(crate) const PART: usize = 8 << 20;

/// The timeout for silence in these tests.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// The row of a download.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct DownloadRow {
    pub(crate) state: String,
    pub(crate) attempts: i32,
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) size_bytes: Option<i64>,
    pub(crate) content_type: Option<String>,
    pub(crate) due_at: Option<DateTime<Utc>>,
}

impl DownloadRow {
    /// The state and the error code, for comparisons.
    pub(crate) fn outcome(&self) -> (&str, Option<&str>) {
        (&self.state, self.error_code.as_deref())
    }
}

/// A downloader and its store.
pub(crate) struct Harness {
    pub(crate) pool: PgPool,
    pub(crate) downloader: Arc<Downloader>,
    /// The folder with all files of the store.
    root: PathBuf,
    /// The folder in it with the objects.
    objects: PathBuf,
    /// The S3 server and its proxy, if the store is a bucket.
    pub(crate) proxy: Option<S3Proxy>,
    _servers: (Option<TempDir>, Option<S3>),
}

impl Harness {
    /// Creates one with a folder as its store.
    pub(crate) fn folder(pool: &PgPool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let store = Store::at(&Url::from_file_path(&root).unwrap(), &HashMap::new()).unwrap();
        Self {
            pool: pool.clone(),
            downloader: Arc::new(downloader(pool, store)),
            objects: root.clone(),
            root,
            proxy: None,
            _servers: (Some(folder), None),
        }
    }

    /// Creates one with a bucket as its store, whose server can be made to fail.
    pub(crate) async fn bucket(pool: &PgPool) -> Self {
        let s3 = S3::start().await;
        let proxy = S3Proxy::start(s3.address).await;
        let mut environment = s3.environment();
        environment.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", proxy.address));
        let store = Store::at(&Url::parse(&S3::url()).unwrap(), &environment).unwrap();
        let objects = s3.path("");
        Self {
            pool: pool.clone(),
            downloader: Arc::new(downloader(pool, store)),
            root: objects.ancestors().nth(2).unwrap().to_owned(),
            objects,
            proxy: Some(proxy),
            _servers: (None, Some(s3)),
        }
    }

    /// Creates one with a folder and one with a bucket.
    pub(crate) async fn both(pool: &PgPool) -> [Self; 2] {
        [Self::folder(pool), Self::bucket(pool).await]
    }

    /// Changes a setting.
    pub(crate) fn with(mut self, set: impl FnOnce(&mut Downloader)) -> Self {
        set(Arc::get_mut(&mut self.downloader).unwrap());
        self
    }

    /// Another worker with the same rows and store.
    pub(crate) fn successor(&self) -> Arc<Downloader> {
        let fetcher = self.downloader.fetcher.clone();
        Arc::new(Downloader { fetcher, ..downloader(&self.pool, self.downloader.store.clone()) })
    }

    /// Adds a complete render with one file.
    pub(crate) async fn queue(&self, id: &str, url: Url) {
        let mut project = video(id, "complete");
        project.downloads = vec![url];
        let payload = Payload::from_details(project.payload().to_string().as_bytes()).unwrap();
        let now = Clock::system().now();
        intake::record(&self.pool, now, &[Observation::poll(Kind::Video, payload, now)], &RecordRules::default())
            .await
            .unwrap();
    }

    /// Claims the file of a render from another worker, as if its lease had expired.
    pub(crate) async fn claim_over(&self, id: &str) -> ClaimedDownload {
        let claimed = self.claim(id).await;
        assert!(claimed.taken_over);
        claimed
    }

    /// Claims the file of a render, whenever it is due.
    pub(crate) async fn claim(&self, id: &str) -> ClaimedDownload {
        let now = Clock::system().now();
        let due = "UPDATE downloads SET due_at = $2 WHERE render_id = $1 AND due_at IS NOT NULL";
        sqlx::query(due).bind(id).bind(now - TimeDelta::days(1)).execute(&self.pool).await.unwrap();
        let capacity = Capacity { limit: 1, per_host: 1, in_progress: Vec::new() };
        // So that it is due before anything else.
        let then = now - TimeDelta::hours(12);
        let database = &self.downloader.database;
        let mut claimed = claim_downloads(database, then, Duration::from_hours(13), &capacity).await.unwrap();
        claimed.pop().expect("the file is in the queue")
    }

    /// Makes one attempt at the file of a render.
    pub(crate) async fn attempt(&self, id: &str) -> DownloadRow {
        let claimed = self.claim(id).await;
        self.downloader.process(claimed, &Shutdown::default()).await;
        self.row(id).await
    }

    /// Starts an attempt in the background, which can be stopped.
    pub(crate) async fn begin(&self, id: &str) -> (JoinHandle<()>, Shutdown) {
        let (claimed, downloader, stop) = (self.claim(id).await, self.downloader.clone(), Shutdown::default());
        let shutdown = stop.clone();
        (tokio::spawn(async move { Box::pin(downloader.process(claimed, &shutdown)).await }), stop)
    }

    /// The row of a render's file.
    pub(crate) async fn row(&self, id: &str) -> DownloadRow {
        let row = "SELECT * FROM downloads WHERE render_id = $1";
        sqlx::query_as(row).bind(id).fetch_one(&self.pool).await.unwrap()
    }

    /// The number of bytes in the checkpoint of a render's file.
    pub(crate) async fn checkpoint(&self, id: &str) -> Option<usize> {
        let bytes = "SELECT bytes FROM checkpoints WHERE render_id = $1";
        let bytes: Option<i64> = sqlx::query_scalar(bytes).bind(id).fetch_optional(&self.pool).await.unwrap();
        bytes.map(|bytes| bytes.try_into().unwrap())
    }

    /// The object of a render's file, if there is one.
    pub(crate) fn object(&self, id: &str) -> Option<Vec<u8>> {
        std::fs::read(self.objects.join(format!("video/{id}/0-a.mp4"))).ok()
    }

    /// The parts in the store: those being written and those left behind.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        unfinished(&self.root)
    }

    /// Asserts that no part is left. The S3 server removes the file of an interrupted request a moment later.
    async fn assert_clean(&self) {
        until_no_differences(|| async { self.unfinished() }).await;
    }

    /// Asserts that the complete file is stored as described by the row, and that nothing else is left.
    pub(crate) async fn assert_stored(&self, id: &str, file: &[u8]) {
        let row = self.row(id).await;
        assert_eq!(row.outcome(), ("stored", None), "{:?}", row.error_message);
        assert!(self.object(id).expect("the object") == file, "the object is not the file");
        assert_eq!(row.size_bytes, Some(i64::try_from(file.len()).unwrap()));
        assert_eq!(row.sha256, Some(hex::encode(Sha256::digest(file))));
        self.assert_clean().await;
        assert_eq!(self.checkpoint(id).await, None);
    }

    /// Asserts that nothing of the file is left.
    pub(crate) async fn assert_nothing(&self, id: &str) {
        assert!(self.object(id).is_none(), "there is an object");
        self.assert_clean().await;
        assert_eq!(self.checkpoint(id).await, None);
    }
}

fn downloader(pool: &PgPool, store: Store) -> Downloader {
    Downloader {
        database: Database::from_pool(pool.clone()),
        settler: Settler::default(),
        store,
        store_health: StoreHealth::default(),
        fetcher: fetcher(1 << 30),
        clock: Clock::system(),
        lease: Duration::from_mins(1),
        max_attempts: 20,
        renews: false,
        deletes: false,
    }
}

/// A fetcher for servers on this machine, with short timeouts.
pub(crate) fn fetcher(max_bytes: u64) -> Fetcher {
    Fetcher::new(Guard::new(Vec::new(), true), max_bytes).unwrap().with_timeout(SILENCE)
}

/// The parts below `root`: those being written and those left behind.
pub(crate) fn unfinished(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    collect(root, &mut names);
    names.retain(|name| is_unfinished(name));
    names
}

/// Whether this is the name of a part, in a folder or of the S3 server.
fn is_unfinished(name: &str) -> bool {
    name.rsplit('.').next() == Some("part") || name.starts_with(".upload") || name.starts_with(".tmp")
}

/// The S3 server creates an empty file before it handles a request. If the request is interrupted right then, the empty file stays.
/// It contains nothing, so it does not count.
fn is_never_begun(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    name.to_string_lossy().starts_with(".tmp.") && entry.metadata().is_ok_and(|file| file.len() == 0)
}

fn collect(folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), names);
        } else if !is_never_begun(&entry) {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
}

/// Bytes in which no two parts are equal.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
