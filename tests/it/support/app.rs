//! The service in this process, on a port of its own, exactly as `serve` runs it.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use renderhook::app::{self, Listeners};
use renderhook::config::{Config, ServeArgs, Webhooks};
use renderhook::domain::Kind;
use renderhook::http::Limits;
use renderhook::intake::QueueLimits;
use renderhook::runtime::{Clock, Database, Shutdown};
use renderhook_dev::standin::{Answer, FileServer, Project, Settings, SignedRequest, StandIn};
use reqwest::{Client, Response};
use secrecy::SecretString;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::until;

/// The secret of the tests' webhook.
pub(crate) const SECRET: &str = "whsec_test_secret";
/// The token of the tests' application.
pub(crate) const TOKEN: &str = "test-token";

/// What a test may set otherwise than the others.
#[derive(Default)]
pub(crate) struct Options {
    /// More flags of `serve`, which win over the usual ones.
    pub(crate) flags: Vec<String>,
    /// The clouds' variables.
    pub(crate) environment: HashMap<String, String>,
    /// Another clock.
    pub(crate) clock: Option<Clock>,
    /// Another way to the database than the test's own.
    pub(crate) database: Option<Database>,
    /// Other limits of the HTTP server.
    pub(crate) http_limits: Limits,
    /// Other limits of the queue of recording.
    pub(crate) queue_limits: QueueLimits,
}

impl Options {
    /// With more flags of `serve`.
    pub(crate) fn flags(flags: &[&str]) -> Self {
        Self { flags: flags.iter().map(|&flag| flag.to_owned()).collect(), ..Self::default() }
    }
}

/// A running service and everything around it.
pub(crate) struct App {
    /// Connections of the test's own.
    pub(crate) pool: PgPool,
    /// Where the service listens.
    pub(crate) base: Url,
    /// Where it serves everything but the webhook, with `--api-listen-addr`.
    pub(crate) api_base: Option<Url>,
    /// The stand-in's files.
    pub(crate) files: FileServer,
    /// A client without a token.
    pub(crate) client: Client,
    /// The folder that is the store, unless a flag says otherwise.
    pub(crate) folder: TempDir,
    /// Stops the service.
    pub(crate) shutdown: Shutdown,
    service: JoinHandle<anyhow::Result<()>>,
}

impl App {
    /// Starts the service on the test's database.
    pub(crate) async fn start(pool: &PgPool) -> Self {
        Self::start_with(pool, Options::default()).await
    }

    /// Starts it otherwise than usual.
    pub(crate) async fn start_with(pool: &PgPool, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Url::from_file_path(folder.path()).unwrap();
        let usual = [
            // Not used: the test has its connections.
            "--database-url=postgres://127.0.0.1/unused".to_owned(),
            format!("--magic-hour-webhook-secret={SECRET}"),
            format!("--api-tokens={TOKEN}"),
            format!("--storage-url={storage}"),
            "--download-allow-private=true".to_owned(),
        ];
        let settings = ServeArgs::from_flags(usual.into_iter().chain(options.flags)).unwrap();
        let config = settings.read(options.environment, false).unwrap();
        let webhooks = Webhooks { queue_limits: options.queue_limits, ..config.webhooks };
        let config = Config { http_limits: options.http_limits, webhooks, ..config };
        // Connections of the service's own: it may need more than a test's pool has.
        let own = || {
            let connect = PgPoolOptions::new().max_connections(10);
            Database::from_pool(connect.connect_lazy_with((*pool.connect_options()).clone()))
        };
        let database = options.database.unwrap_or_else(own);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let api_listener = match config.api_listen {
            Some(address) => Some(TcpListener::bind(address).await.unwrap()),
            None => None,
        };
        let base_of =
            |listener: &TcpListener| Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let (base, api_base) = (base_of(&listener), api_listener.as_ref().map(base_of));
        let listeners = Listeners { public: listener, api: api_listener };
        let shutdown = Shutdown::default();
        let clock = options.clock.unwrap_or_else(Clock::system);
        let files = FileServer::start(clock.clone()).await.unwrap();
        let service = tokio::spawn(app::run(config, database, listeners, clock, shutdown.clone()));
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { pool: pool.clone(), base, api_base, files, client, folder, shutdown, service }
    }

    /// An address of the service.
    pub(crate) fn at(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }

    /// Posts an event about `project`, signed now.
    pub(crate) async fn send(&self, event_type: &str, project: &Project) -> Answer {
        self.post(&project.event(event_type)).await
    }

    /// Posts a body, signed now.
    pub(crate) async fn post(&self, body: &[u8]) -> Answer {
        self.deliver(&signed(body)).await
    }

    /// Posts a delivery.
    pub(crate) async fn deliver(&self, delivery: &SignedRequest) -> Answer {
        delivery.post(&self.client, &self.at("/webhook")).await.unwrap()
    }

    /// Asks with the token.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.at(path)).bearer_auth(TOKEN).send().await.unwrap()
    }

    /// The answer about a render.
    pub(crate) async fn render(&self, id: &str) -> Value {
        let answer = self.get(&format!("/renders/{id}")).await;
        assert_eq!(answer.status(), 200, "{id}");
        answer.json().await.unwrap()
    }

    /// Waits until a render's `archive` is `wanted`.
    pub(crate) async fn archived(&self, id: &str, wanted: &str) -> Value {
        until(&format!("archive of {id} to be {wanted}"), || async {
            let render = self.render(id).await;
            (render["archive"] == wanted).then_some(render)
        })
        .await
    }

    /// Stops the service as SIGTERM would, and returns its result.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.stop();
        self.service.await.unwrap()
    }
}

/// A stand-in Magic Hour that signs with the tests' secret.
pub(crate) async fn standin() -> StandIn {
    StandIn::start(Settings::new(Clock::system(), SecretString::from(SECRET))).await.unwrap()
}

/// A body, signed now.
pub(crate) fn signed(body: &[u8]) -> SignedRequest {
    signed_at(Clock::system().now().timestamp(), body)
}

/// A body, signed at a time of its own.
pub(crate) fn signed_at(seconds: i64, body: &[u8]) -> SignedRequest {
    SignedRequest::sign(&SecretString::from(SECRET), seconds.to_string(), body.to_vec())
}

/// A video with a status.
pub(crate) fn video(id: &str, status: &str) -> Project {
    let mut project = Project::new(Kind::Video, id, Clock::system().now());
    project.status = Some(status.to_owned());
    project
}
