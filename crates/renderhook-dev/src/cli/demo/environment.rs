//! What the demo runs: the database, the stand-in and the service.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use private_postgres::Cluster;
use renderhook::app::{self, Listeners};
use renderhook::config::ServeArgs;
use renderhook::runtime::{Clock, Database, MIGRATIONS, Shutdown};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::MigrateDatabase;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;
use uuid::Uuid;

use crate::cli::output::say;
use crate::standin::{Settings, StandIn};

const DATABASE: &str = "renderhook";

/// Everything that runs, with the secrets to use it.
pub(super) struct DemoServices {
    pub(super) magic_hour: StandIn,
    pub(super) client: Client,
    pub(super) webhook_secret: SecretString,
    pub(super) api_token: SecretString,
    /// The service's URL.
    pub(super) base: Url,
    /// The store's folder.
    pub(super) store: PathBuf,
    database: Database,
    shutdown: Shutdown,
    service: JoinHandle<anyhow::Result<()>>,
}

impl DemoServices {
    pub(super) async fn start(folder: &Path, cluster: &Cluster, port: u16) -> anyhow::Result<Self> {
        let database_url = cluster.url(DATABASE);
        let database = prepare_database(&database_url).await?;

        let webhook_secret = SecretString::from(format!("whsec_{}", Uuid::new_v4().simple()));
        let api_token = SecretString::from(Uuid::new_v4().simple().to_string());
        let settings = Settings::new(Clock::system(), webhook_secret.clone());
        let magic_hour = StandIn::start(settings).await.context("cannot start the stand-in for Magic Hour")?;
        say("magic hour", format_args!("a stand-in renders; its API is at {}", magic_hour.base))?;

        let store = folder.join("objects");
        let storage_url = Url::from_file_path(&store).map_err(|()| anyhow!("not a path: {}", store.display()))?;
        let flags = [
            format!("--database-url={database_url}"),
            format!("--magic-hour-webhook-secret={}", webhook_secret.expose_secret()),
            format!("--storage-url={storage_url}"),
            format!("--api-tokens={}", api_token.expose_secret()),
            // The stand-in is on this machine and serves plain HTTP.
            "--download-allow-private=true".to_owned(),
            "--ui-enabled=true".to_owned(),
            // So that nobody has to wait for the first poll.
            "--reconcile-after=1s".to_owned(),
        ];
        let config = ServeArgs::from_flags(flags.into_iter().chain(magic_hour.serve_flags()))?.read([], false)?;
        let listener = listen(port).await.context("cannot listen on 127.0.0.1")?;
        let base = Url::parse(&format!("http://{}/", listener.local_addr()?))?;
        let shutdown = Shutdown::default();
        let listeners = Listeners { public: listener, api: None };
        let service = tokio::spawn(app::run(config, database.clone(), listeners, Clock::system(), shutdown.clone()));
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(70)).build()?;
        let environment =
            Self { magic_hour, client, webhook_secret, api_token, base, store, database, shutdown, service };
        environment.check_ready().await?;
        environment.magic_hour.webhooks.set_receiver(Some(environment.url("/webhook")?));
        let log = folder.join("service.log");
        say("renderhook", format_args!("ready at {}; its log is {}", environment.base, log.display()))?;
        Ok(environment)
    }

    /// A URL of the service.
    pub(super) fn url(&self, path: &str) -> anyhow::Result<Url> {
        Ok(self.base.join(path)?)
    }

    /// Gets a URL of the service, with the token.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        let token = self.api_token.expose_secret();
        Ok(self.client.get(self.url(path)?).bearer_auth(token).send().await?)
    }

    async fn check_ready(&self) -> anyhow::Result<()> {
        let answer = self.client.get(self.url("/readyz")?).send().await?;
        if !answer.status().is_success() {
            bail!("the service is not ready: {}", answer.text().await?);
        }
        Ok(())
    }

    /// Stops the service as SIGTERM does.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.stop();
        let result = self.service.await.context("the service panicked")?;
        self.database.pool().close().await;
        result
    }
}

async fn prepare_database(url: &str) -> anyhow::Result<Database> {
    if !sqlx::Postgres::database_exists(url).await? {
        sqlx::Postgres::create_database(url).await?;
    }
    let database = Database::new(&SecretString::from(url).into())?;
    app::prepare(&database).await?;
    say("database", format_args!("`{DATABASE}` has all {} migrations", MIGRATIONS.iter().count()))?;
    Ok(database)
}

async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
        }
        result => result,
    }
}
