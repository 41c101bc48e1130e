//! `renderhook retry`.

use super::output::Output;
use super::rows;
use crate::archive::RetryFilter;
use crate::archive::retry;
use crate::config::DatabaseArgs;
use crate::domain::RenderId;
use crate::runtime::Clock;

/// Flags of `retry`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["render", "failed", "since"])))]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Only this render's
    #[arg(long, value_name = "ID")]
    render: Option<RenderId>,
    /// Every failed download
    #[arg(long)]
    failed: bool,
    /// Only those that failed within this time, such as 24h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// Shows which, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let database = rows::connect(&args.database).await?;
    let now = Clock::system().now();
    let since = rows::ago(args.since, now);
    let filter = RetryFilter { render: args.render, since, ..RetryFilter::default() };
    let downloads = if args.dry_run {
        retry::preview(&database, &filter, now).await?
    } else {
        retry::retry(&database, &filter, now).await?
    };
    let mut output = Output::default();
    for file in &downloads {
        let error = file.error.as_ref().map(|error| format!(" {}: {}", error.code, error.message));
        output.line(format_args!("{} {}{}", file.render_id, file.index, error.unwrap_or_default()))?;
    }
    let done = if args.dry_run { "would go back in the queue" } else { "went back in the queue" };
    output.line(format_args!("{} failed downloads {done}", downloads.len()))?;
    Ok(())
}
