//! `renderhook serve`.

use std::io::IsTerminal;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::app;
use crate::config::{self, ServeArgs};
use crate::runtime::Clock;
use crate::runtime::Database;
use crate::runtime::Shutdown;
use crate::runtime::{stop_signal, telemetry};

/// Flags of `serve`: the settings.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: ServeArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let config = args.settings.read(config::environment(), std::io::stdout().is_terminal())?;
    telemetry::start(config.log_format, std::io::stdout);
    let database = Database::new(&config.database_url).context("DATABASE_URL is no URL of a Postgres database")?;
    let shutdown = Shutdown::default();
    let stop = shutdown.clone();
    // From here on a signal is an orderly end, also while the database is still waited for.
    tokio::spawn(async move {
        if stop_signal().await.is_ok() {
            stop.stop();
        }
    });
    tokio::select! {
        () = shutdown.stopping() => return Ok(()),
        prepared = app::prepare(&database) => prepared?,
    }
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    app::run(config, database, listener, Clock::system(), shutdown).await
}
