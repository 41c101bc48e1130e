//! `renderhook status`: one screen, read from the database.

mod screen;

use std::time::Duration;

use super::database;
use super::output::Output;
use crate::config::DatabaseArgs;
use crate::runtime::{Clock, stop_signal};
use crate::views::Overview;

/// Flags of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  renderhook status\n  renderhook status --watch\n  renderhook status --watch=10s")]
pub(super) struct StatusFlags {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Refreshes the screen every 2 seconds, or at the given interval, until Ctrl-C
    #[arg(
        long, value_name = "INTERVAL", value_parser = humantime::parse_duration, num_args = 0..=1, require_equals = true,
        default_missing_value = "2s"
    )]
    watch: Option<Duration>,
}

pub(super) async fn run(args: &StatusFlags) -> anyhow::Result<()> {
    let database = database::connect(&args.database).await?;
    let (clock, mut output) = (Clock::system(), Output::default());
    let Some(interval) = args.watch else {
        let overview = Overview::read(&database, clock.now()).await?;
        return Ok(output.line(screen::text(&overview, clock.now()))?);
    };
    let watching = async {
        loop {
            // A database that is gone comes back.
            let screen = match Overview::read(&database, clock.now()).await {
                Ok(overview) => screen::text(&overview, clock.now()),
                Err(error) => error.to_string(),
            };
            output.screen(&screen)?;
            if output.is_closed() {
                return Ok(());
            }
            tokio::time::sleep(interval).await;
        }
    };
    tokio::select! {
        result = watching => result,
        _ = stop_signal() => Ok(()),
    }
}
