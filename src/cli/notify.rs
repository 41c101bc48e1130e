//! `renderhook notify`.

use anyhow::bail;

use super::database;
use super::output::Output;
use crate::config::{ConfigErrors, DatabaseArgs, NotifyArgs};
use crate::domain::RenderId;
use crate::notify::{self, ResendFilter, Resent};
use crate::runtime::{BACKGROUND_TIMEOUT, Clock};
use crate::views;

/// Flags of `notify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  renderhook notify --failed --dry-run\n  renderhook notify --render clx123")]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["render", "failed", "since"])))]
pub(super) struct NotifyFlags {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    notify: NotifyArgs,
    /// Only notifications about this render
    #[arg(long, value_name = "ID")]
    render: Option<RenderId>,
    /// Only notifications that have failed
    #[arg(long)]
    failed: bool,
    /// Only notifications written within this time, such as 24h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// Shows which notifications would be sent again, without changing anything
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: NotifyFlags) -> anyhow::Result<()> {
    let mut errors = ConfigErrors::default();
    let settings = args.notify.read(&mut errors);
    if settings.client.is_none() && errors.is_empty() {
        errors.add("NOTIFY_URL", "is not set, so nothing is posted");
    }
    let settings = errors.into_result(settings)?;
    let database = database::connect(&args.database).await?;
    if let Some(id) = &args.render
        && !database.with_timeout(BACKGROUND_TIMEOUT, views::exists(database.pool(), id)).await?
    {
        bail!("there is no render with the id {id}");
    }
    let now = Clock::system().now();
    let filter = ResendFilter {
        render: args.render,
        since: database::time_ago(args.since, now),
        only_failed: args.failed,
        posted: settings.posted,
    };
    let (mut output, mut count, mut printed) = (Output::counting("notifications"), 0, Ok(()));
    let each = |it: &Resent| {
        count += 1;
        if printed.is_ok() {
            printed = output.line(format_args!("{} {} {}", it.id, it.r#type, it.render_id));
        }
    };
    if args.dry_run {
        notify::preview(&database, &filter, each).await?;
    } else {
        notify::resend(&database, &filter, now, each).await?;
    }
    printed?;
    output.finish(summary(args.dry_run, count))?;
    Ok(())
}

fn summary(dry_run: bool, count: usize) -> String {
    let noun = if count == 1 { "notification" } else { "notifications" };
    let outcome = if dry_run { "would be sent again" } else { "put back in the queue" };
    format!("{count} {noun} {outcome}")
}
