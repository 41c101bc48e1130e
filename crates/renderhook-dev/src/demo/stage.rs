//! Where the demo plays: the parts, set up and cleared away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::SecretString;
use sqlx::migrate::MigrateDatabase;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;
use uuid::Uuid;

use super::say;
use crate::standin::{Settings, StandIn};
use private_postgres::{Cluster, Durability};
use renderhook::app;
use renderhook::config::ServeArgs;
use renderhook::runtime::{Clock, Database, LogFormat, MIGRATIONS, Shutdown};

const DATABASE: &str = "renderhook";

/// The parts at work.
pub(super) struct Stage {
    pub(super) database: Database,
    pub(super) magic_hour: StandIn,
    pub(super) client: reqwest::Client,
    pub(super) secret: SecretString,
    pub(super) token: String,
    pub(super) base: Url,
    pub(super) objects: PathBuf,
    shutdown: Shutdown,
    service: JoinHandle<anyhow::Result<()>>,
}

/// Starts the private Postgres.
pub(super) async fn cluster(folder: &Path) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(&folder.join("postgres"), Durability::Kept).await?;
    let place = folder.join("postgres");
    say("postgres", format!("version {} runs from {}, on a socket of its own", cluster.version(), place.display()));
    Ok(cluster)
}

impl Stage {
    pub(super) async fn set(folder: &Path, cluster: &Cluster, port: u16) -> anyhow::Result<Self> {
        let url = cluster.url(DATABASE);
        if !sqlx::Postgres::database_exists(&url).await? {
            sqlx::Postgres::create_database(&url).await?;
        }
        let database = Database::new(&SecretString::from(url.as_str()))?;
        app::prepare(&database).await?;
        say("database", format!("`{DATABASE}` has all {} migrations", MIGRATIONS.iter().count()));

        let secret = format!("whsec_{}", Uuid::new_v4().simple());
        let settings = Settings::new(Clock::system(), SecretString::from(secret.as_str()));
        let magic_hour = StandIn::start(settings).await.context("cannot start the stand-in Magic Hour")?;
        say("magic hour", format!("a stand-in renders, and answers at {}", magic_hour.base));

        let token = Uuid::new_v4().simple().to_string();
        let objects = folder.join("objects");
        let storage = Url::from_file_path(&objects).map_err(|()| anyhow::anyhow!("no path: {}", objects.display()))?;
        let flags = [
            format!("--database-url={url}"),
            format!("--magic-hour-webhook-secret={secret}"),
            format!("--storage-url={storage}"),
            format!("--api-tokens={token}"),
            // The stand-in is on this machine and speaks plain HTTP.
            "--download-allow-private=true".to_owned(),
            // Who looks on does not want to wait.
            "--reconcile-after=1s".to_owned(),
        ];
        let config = ServeArgs::from_flags(flags.into_iter().chain(magic_hour.flags()))?.read([], false)?;
        debug_assert_eq!(config.log_format, LogFormat::Json);
        let listener = listen(port).await.context("cannot listen on 127.0.0.1")?;
        let base = Url::parse(&format!("http://{}/", listener.local_addr()?))?;
        let shutdown = Shutdown::default();
        let service = tokio::spawn(app::run(config, database.clone(), listener, Clock::system(), shutdown.clone()));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(70)).build()?;
        let stage =
            Self { database, magic_hour, client, secret: secret.into(), token, base, objects, shutdown, service };
        stage.ready().await?;
        stage.magic_hour.webhooks.post_to(Some(stage.at("/webhook")?));
        say("renderhook", format!("ready at {}, its log goes to {}", stage.base, folder.join("service.log").display()));
        Ok(stage)
    }

    pub(super) fn at(&self, path: &str) -> anyhow::Result<Url> {
        Ok(self.base.join(path)?)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let answer = self.client.get(self.at("/readyz")?).send().await?;
        if !answer.status().is_success() {
            bail!("the service is not ready: {}", answer.text().await?);
        }
        Ok(())
    }

    /// Stops the service as SIGTERM would.
    pub(super) async fn clear(self) -> anyhow::Result<()> {
        self.shutdown.stop();
        let ended = self.service.await.context("the service panicked")?;
        self.database.pool().close().await;
        ended
    }
}

async fn listen(port: u16) -> std::io::Result<TcpListener> {
    let local = std::net::Ipv4Addr::LOCALHOST;
    match TcpListener::bind((local, port)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => TcpListener::bind((local, 0)).await,
        bound => bound,
    }
}
