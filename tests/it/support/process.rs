//! The real binary as a process of its own.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::Url;

use super::app::{SECRET, TOKEN};
use super::until;
use super::wait::MAX_WAIT;

/// The binary with an environment that is empty but for what a test sets.
pub(crate) fn renderhook(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_renderhook"));
    command.args(words).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The URL of a test's own database.
pub(crate) fn database_url(pool: &PgPool) -> Url {
    let mut url = Url::parse(&std::env::var("DATABASE_URL").unwrap()).unwrap();
    url.set_path(pool.connect_options().get_database().unwrap());
    url
}

/// What a process has written so far.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn of(output: impl AsyncRead + Send + Unpin + 'static) -> (Self, JoinHandle<()>) {
        let lines = Self::default();
        let written = lines.clone();
        let reader = tokio::spawn(async move {
            let mut output = BufReader::new(output).lines();
            while let Ok(Some(line)) = output.next_line().await {
                written.0.lock().unwrap().push(line);
            }
        });
        (lines, reader)
    }

    /// The lines as they are.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The lines of the log with this event.
    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        let lines = self.all().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        lines.filter(|line| line["event"] == event).collect()
    }
}

/// A running `renderhook serve`.
pub(crate) struct Service {
    /// Where it listens.
    pub(crate) base: Url,
    /// A client that keeps no connection.
    pub(crate) client: Client,
    /// What it wrote to stdout.
    pub(crate) log: Lines,
    /// What it wrote to stderr.
    pub(crate) stderr: Lines,
    child: Child,
    readers: [JoinHandle<()>; 2],
}

/// `serve` on a free port, with its four required settings and a folder as the store.
pub(crate) fn serve(database: &Url, folder: &TempDir) -> Command {
    let mut command = renderhook(&["serve"]);
    command
        .env("DATABASE_URL", database.as_str())
        .env("MAGIC_HOUR_WEBHOOK_SECRET", SECRET)
        .env("API_TOKENS", TOKEN)
        .env("STORAGE_URL", Url::from_file_path(folder.path()).unwrap().as_str())
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("DOWNLOAD_ALLOW_PRIVATE", "true");
    command
}

impl Service {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (log, out) = Lines::of(child.stdout.take().unwrap());
        let (stderr, err) = Lines::of(child.stderr.take().unwrap());
        let address = until("the service to listen", || async {
            assert!(!out.is_finished(), "it ended: {:?} {:?}", log.all(), stderr.all());
            log.events("service.started").iter().find_map(|line| Some(line["address"].as_str()?.to_owned()))
        })
        .await;
        let base = Url::parse(&format!("http://{address}/")).unwrap();
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Self { base, client, log, stderr, child, readers: [out, err] }
    }

    /// An address of the service.
    pub(crate) fn at(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }

    /// Asks with the token.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(self.at(path)).bearer_auth(TOKEN).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Whether it has not ended yet.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, and for the last of what it wrote.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = timeout(MAX_WAIT, self.child.wait()).await.expect("it ends").unwrap();
        for reader in &mut self.readers {
            timeout(MAX_WAIT, reader).await.expect("its output ends").unwrap();
        }
        status
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert!(status.success(), "{status}: {:?}", self.stderr.all());
    }
}
