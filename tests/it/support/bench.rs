//! A downloader without a loop around it: one attempt at a time, when a test says so.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::archive::Downloader;
use renderhook::archive::Fetcher;
use renderhook::archive::Guard;
use renderhook::archive::Store;
use renderhook::archive::queue;
use renderhook::archive::{Capacity, Claimed, Settler};
use renderhook::domain::Kind;
use renderhook::domain::event;
use renderhook::feed::PostedTypes;
use renderhook::intake::record::{self, Observation};
use renderhook::runtime::Clock;
use renderhook::runtime::Database;
use renderhook::runtime::Shutdown;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use url::Url;

use super::app::video;
use super::proxy_tcp::Proxy;
use super::s3::S3;
use super::wait::settled;

/// A store's part: what is kept of a file is a multiple of it.
pub(crate) const PART: usize = 8 << 20;

/// How long a server may be silent here.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// What stands in the row of a download.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) state: String,
    pub(crate) attempts: i32,
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) size_bytes: Option<i64>,
    pub(crate) content_type: Option<String>,
    pub(crate) due_at: Option<DateTime<Utc>>,
}

impl Row {
    /// The state and the error's word, to compare with.
    pub(crate) fn outcome(&self) -> (&str, Option<&str>) {
        (&self.state, self.error_code.as_deref())
    }
}

/// The downloader of a test, and its store.
pub(crate) struct Bench {
    pub(crate) pool: PgPool,
    pub(crate) downloader: Arc<Downloader>,
    /// Where the store keeps its files.
    root: PathBuf,
    /// Below it, where the objects are.
    objects: PathBuf,
    /// The S3 server, and the proxy before it, where the store is a bucket.
    pub(crate) proxy: Option<Proxy>,
    _neighbours: (Option<TempDir>, Option<S3>),
}

impl Bench {
    /// With a folder as its store.
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
            _neighbours: (Some(folder), None),
        }
    }

    /// With a bucket as its store, whose server can be made to fail.
    pub(crate) async fn bucket(pool: &PgPool) -> Self {
        let s3 = S3::start().await;
        let proxy = Proxy::start(s3.address).await;
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
            _neighbours: (None, Some(s3)),
        }
    }

    /// One of each.
    pub(crate) async fn both(pool: &PgPool) -> [Self; 2] {
        [Self::folder(pool), Self::bucket(pool).await]
    }

    /// With another setting.
    pub(crate) fn with(mut self, set: impl FnOnce(&mut Downloader)) -> Self {
        set(Arc::get_mut(&mut self.downloader).unwrap());
        self
    }

    /// Another worker on the same rows and the same store.
    pub(crate) fn successor(&self) -> Arc<Downloader> {
        let fetcher = self.downloader.fetcher.clone();
        Arc::new(Downloader { fetcher, ..downloader(&self.pool, self.downloader.store.clone()) })
    }

    /// Puts a render's file up.
    pub(crate) async fn queue(&self, id: &str, url: Url) {
        let mut project = video(id, "complete");
        project.downloads = vec![url];
        let payload = event::parse_details(project.payload().to_string().as_bytes()).unwrap();
        let now = Clock::system().now();
        record::record(&self.pool, now, &[Observation::poll(Kind::Video, payload, now)], PostedTypes::default())
            .await
            .unwrap();
    }

    /// Claims the file of a render over a worker that still has it, as if its lease had run out.
    pub(crate) async fn claim_over(&self, id: &str) -> Claimed {
        let claimed = self.claim(id).await;
        assert!(claimed.taken_over);
        claimed
    }

    /// Claims the file of a render, whenever it is due.
    pub(crate) async fn claim(&self, id: &str) -> Claimed {
        let now = Clock::system().now();
        let due = "UPDATE downloads SET due_at = $2 WHERE render_id = $1 AND due_at IS NOT NULL";
        sqlx::query(due).bind(id).bind(now - TimeDelta::days(1)).execute(&self.pool).await.unwrap();
        let capacity = Capacity { limit: 1, per_host: 1, in_progress: Vec::new() };
        // Before anything else is due.
        let then = now - TimeDelta::hours(12);
        let database = &self.downloader.database;
        let mut claimed = queue::claim(database, then, Duration::from_hours(13), &capacity).await.unwrap();
        claimed.pop().expect("the file is in the queue")
    }

    /// One attempt at the file of a render, to its end.
    pub(crate) async fn attempt(&self, id: &str) -> Row {
        let claimed = self.claim(id).await;
        self.downloader.process(claimed, &Shutdown::default()).await;
        self.row(id).await
    }

    /// An attempt beside the test, which can be stopped.
    pub(crate) async fn begin(&self, id: &str) -> (JoinHandle<()>, Shutdown) {
        let (claimed, downloader, stop) = (self.claim(id).await, self.downloader.clone(), Shutdown::default());
        let shutdown = stop.clone();
        (tokio::spawn(async move { Box::pin(downloader.process(claimed, &shutdown)).await }), stop)
    }

    /// The row of a render's file.
    pub(crate) async fn row(&self, id: &str) -> Row {
        let row = "SELECT * FROM downloads WHERE render_id = $1";
        sqlx::query_as(row).bind(id).fetch_one(&self.pool).await.unwrap()
    }

    /// How many bytes of a render's file the checkpoint has for the next attempt.
    pub(crate) async fn checkpoint(&self, id: &str) -> Option<usize> {
        let bytes = "SELECT bytes FROM checkpoints WHERE render_id = $1";
        let bytes: Option<i64> = sqlx::query_scalar(bytes).bind(id).fetch_optional(&self.pool).await.unwrap();
        bytes.map(|bytes| bytes.try_into().unwrap())
    }

    /// The object of a render's file, if there is one.
    pub(crate) fn object(&self, id: &str) -> Option<Vec<u8>> {
        std::fs::read(self.objects.join(format!("video/{id}/0-a.mp4"))).ok()
    }

    /// What is in the store beside objects: parts that are being written or were left.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        unfinished(&self.root)
    }

    /// Asserts that no part is left. The S3 server removes what came of a broken request once it notices the break, which
    /// may be a moment after the client went on.
    async fn assert_clean(&self) {
        settled(|| async { self.unfinished() }).await;
    }

    /// Asserts that the file is stored, whole, as the row says, and that nothing else is left.
    pub(crate) async fn assert_stored(&self, id: &str, file: &[u8]) {
        let row = self.row(id).await;
        assert_eq!(row.outcome(), ("stored", None), "{:?}", row.error_message);
        assert!(self.object(id).expect("the object") == file, "the object is not the file");
        assert_eq!(row.size_bytes, Some(i64::try_from(file.len()).unwrap()));
        assert_eq!(row.sha256, Some(hex::encode(Sha256::digest(file))));
        self.assert_clean().await;
        assert_eq!(self.checkpoint(id).await, None);
    }

    /// Asserts that nothing of the file is anywhere.
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
        fetcher: fetcher(1 << 30),
        clock: Clock::system(),
        lease: Duration::from_mins(1),
        max_attempts: 20,
        renews: false,
        deletes: false,
    }
}

/// Fetches from this machine, with short timeouts.
pub(crate) fn fetcher(max_bytes: u64) -> Fetcher {
    Fetcher::new(Guard::new(Vec::new(), true), max_bytes).unwrap().with_timeout(SILENCE)
}

/// What is below `root` beside objects: parts that are being written or were left.
pub(crate) fn unfinished(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    collect(root, &mut names);
    names.retain(|name| is_unfinished(name));
    names
}

/// Whether this is the name of a part: of a folder's, or of the S3 server's.
fn is_unfinished(name: &str) -> bool {
    name.rsplit('.').next() == Some("part") || name.starts_with(".upload") || name.starts_with(".tmp")
}

/// The S3 server makes an empty file for a request before it minds it: where the request breaks off at that very moment,
/// nobody removes it. It holds no byte of any file; one that holds any is minded, and counts.
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

/// Bytes of which no two parts are alike.
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
