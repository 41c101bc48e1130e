//! `renderhook replay`.

use super::database;
use super::output::Output;
use crate::config::{ConfigErrors, DatabaseArgs, ExternalIdArgs, NotifyArgs};
use crate::intake::{RecordOutcome, RecordRules, Replayed, StoredDelivery, replay_deliveries};
use crate::runtime::Clock;

/// Flags of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  renderhook replay --since 24h --dry-run\n  renderhook replay")]
pub(super) struct ReplayFlags {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    notify: NotifyArgs,
    #[command(flatten)]
    external_ids: ExternalIdArgs,
    /// Only deliveries received within this time, such as 24h (default: all stored deliveries)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// Shows what would be recorded, without changing anything
    #[arg(long)]
    dry_run: bool,
}

/// The number of deliveries per result.
#[derive(Debug, Default)]
struct ReplayCounts {
    recorded: usize,
    unknown: usize,
    unreadable: usize,
}

impl ReplayCounts {
    fn add(&mut self, replayed: &Replayed) {
        match replayed {
            Replayed::Unreadable(_) => self.unreadable += 1,
            replayed if replayed.is_understood() => self.recorded += 1,
            Replayed::Readable(_) | Replayed::Recorded(..) => self.unknown += 1,
        }
    }

    fn summary(&self, dry_run: bool) -> String {
        let Self { recorded, unknown, unreadable } = self;
        let verb = if dry_run { "would be recorded" } else { "recorded" };
        let total = recorded + unknown + unreadable;
        let noun = if total == 1 { "delivery" } else { "deliveries" };
        format!("{total} {noun} replayed: {recorded} {verb}, {unknown} still unknown, {unreadable} still unreadable")
    }
}

pub(super) async fn run(args: ReplayFlags) -> anyhow::Result<()> {
    let mut errors = ConfigErrors::default();
    let (posted, external_ids) = (args.notify.read(&mut errors).posted, args.external_ids.read(&mut errors));
    let rules = errors.into_result(RecordRules { posted, external_ids, webhooks_only: false })?;
    let database = database::connect(&args.database).await?;
    let clock = Clock::system();
    let since = database::time_ago(args.since, clock.now());
    let (mut output, mut counts, mut printed) = (Output::counting("deliveries"), ReplayCounts::default(), Ok(()));
    let each = |delivery: &StoredDelivery, replayed: &Replayed| {
        counts.add(replayed);
        let (event_type, id) = replayed.event_type_and_render_id().unwrap_or(("-", "-"));
        let received_at = delivery.received_at().to_rfc3339();
        let line = format!("delivery {} {received_at} {event_type} {id}: {}", delivery.id(), result(replayed));
        if printed.is_ok() {
            printed = output.line(line);
        }
    };
    replay_deliveries(&database, &clock, since, args.dry_run, rules, each).await?;
    printed?;
    output.finish(counts.summary(args.dry_run))?;
    Ok(())
}

fn result(replayed: &Replayed) -> String {
    match replayed {
        Replayed::Unreadable(why) => format!("still unreadable: {why}"),
        Replayed::Readable(observation) if !observation.is_known() => {
            "readable, but its type or status is still unknown".to_owned()
        }
        Replayed::Readable(_) => "would be recorded".to_owned(),
        Replayed::Recorded(_, recorded) => match (recorded.outcome, recorded.transition) {
            (_, Some(change)) => format!("recorded; the render is now {}", change.to),
            (RecordOutcome::Unknown, None) => "its type or status is still unknown".to_owned(),
            (RecordOutcome::Erased, None) => "the render was erased: its body is removed".to_owned(),
            (RecordOutcome::Late, None) => "recorded; the render was already further along".to_owned(),
            (RecordOutcome::Recorded | RecordOutcome::Duplicate, None) => "recorded".to_owned(),
        },
    }
}
