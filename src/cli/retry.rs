//! `renderhook retry`.

use anyhow::bail;

use super::database;
use super::output::Output;
use crate::archive::{RetriedDownload, RetryFilter, RetryState, preview_each_retry, retry_each_download};
use crate::config::DatabaseArgs;
use crate::domain::RenderId;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock};
use crate::views;

/// Flags of `retry`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  renderhook retry --failed --since 24h --dry-run\n  renderhook retry --render clx123\n  renderhook retry --pending"
)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["render", "failed", "since", "pending"])))]
pub(super) struct RetryFlags {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Only downloads of this render
    #[arg(long, value_name = "ID")]
    render: Option<RenderId>,
    /// Failed downloads, starting over with all attempts (the default)
    #[arg(long)]
    failed: bool,
    /// Downloads that wait for their next attempt: makes them due now, for when the cause is fixed
    #[arg(long, conflicts_with = "failed")]
    pending: bool,
    /// Only downloads whose last attempt ended within this time, such as 24h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// Shows which downloads would be retried, without changing anything
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: RetryFlags) -> anyhow::Result<()> {
    let database = database::connect(&args.database).await?;
    if let Some(id) = &args.render
        && !database.with_timeout(BACKGROUND_TIMEOUT, views::exists(database.pool(), id)).await?
    {
        bail!("there is no render with the id {id}");
    }
    let now = Clock::system().now();
    let state = if args.pending { RetryState::Pending } else { RetryState::Failed };
    let since = database::time_ago(args.since, now);
    let filter = RetryFilter { render: args.render, since, state, ..RetryFilter::default() };
    let (mut output, mut count, mut printed) = (Output::counting("downloads"), 0, Ok(()));
    let each = |download: &RetriedDownload| {
        count += 1;
        let error = download.error.as_ref().map(|error| format!(" {}: {}", error.code, error.message));
        if printed.is_ok() {
            printed =
                output.line(format_args!("{} {}{}", download.render_id, download.index, error.unwrap_or_default()));
        }
    };
    if args.dry_run {
        preview_each_retry(&database, &filter, now, each).await?;
    } else {
        retry_each_download(&database, &filter, now, each).await?;
    }
    printed?;
    output.finish(summary(state, args.dry_run, count))?;
    Ok(())
}

fn summary(state: RetryState, dry_run: bool, count: usize) -> String {
    let noun = if count == 1 { "download" } else { "downloads" };
    match (state, dry_run) {
        (RetryState::Failed, false) => format!("{count} failed {noun} put back in the queue"),
        (RetryState::Failed, true) => format!("{count} failed {noun} would be put back in the queue"),
        (RetryState::Pending, false) => format!("{count} waiting {noun} made due now"),
        (RetryState::Pending, true) => format!("{count} waiting {noun} would be made due now"),
    }
}
