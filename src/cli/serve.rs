//! `renderhook serve`.

use std::io::IsTerminal;

use anyhow::Context;

use crate::app::{self, Listeners};
use crate::config::{self, Config, ServeArgs};
use crate::runtime::{Clock, Database, LogQueue, Shutdown, Traces, start_log_on_stdout, stop_signal};

/// Flags of `serve`: the settings.
#[derive(Debug, clap::Args)]
pub(super) struct ServeFlags {
    #[command(flatten)]
    settings: ServeArgs,
}

pub(super) async fn run(args: ServeFlags) -> anyhow::Result<()> {
    let config = args.settings.read(config::environment(), std::io::stdout().is_terminal())?;
    let traces = config.otlp_endpoint.as_ref().map(Traces::start).transpose();
    let traces = traces.context("cannot export spans")?;
    let log = start_log_on_stdout(config.log_format, traces.as_ref());
    let result = serve(config, &log).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    log.flush();
    result
}

async fn serve(config: Config, log: &LogQueue) -> anyhow::Result<()> {
    let database =
        Database::new(&config.database).context("DATABASE_URL or DATABASE_DIRECT_URL is not a Postgres URL")?;
    let shutdown = Shutdown::default();
    let (stop, log) = (shutdown.clone(), log.clone());
    tokio::spawn(async move { log.report_dropped(&stop).await });
    let stop = shutdown.clone();
    // From here on, a signal stops the process gracefully, even while it waits for the database.
    tokio::spawn(async move {
        if stop_signal().await.is_ok() {
            stop.stop();
        }
    });
    tokio::select! {
        () = shutdown.wait_for_stop() => return Ok(()),
        prepared = app::prepare(&database) => prepared?,
    }
    let listeners = Listeners::bind(&config).await?;
    app::run(config, database, listeners, Clock::system(), shutdown).await
}
