//! `renderhook replay`.

use super::rows;
use crate::config::DatabaseArgs;
use crate::intake::Reread;
use crate::intake::record::Outcome;
use crate::intake::replay;
use crate::runtime::Clock;

/// Flags of `replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Those that came within this time, such as 24h (default: all that are kept)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// Only says which could be read now
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let database = rows::database(&args.database)?;
    let clock = Clock::system();
    let since = rows::ago(args.since, clock.now());
    let (mut understood, mut all) = (0, 0);
    replay::run(&database, &clock, since, args.dry_run, |kept, reread| {
        all += 1;
        understood += usize::from(reread.is_understood());
        let (event_type, id) = reread.about().unwrap_or(("-", "-"));
        println!("{} {event_type} {id}: {}", kept.received_at().to_rfc3339(), became(reread));
    })
    .await?;
    let done = if args.dry_run { "would be recorded" } else { "are recorded" };
    println!("{understood} of {all} kept deliveries {done}");
    Ok(())
}

fn became(reread: &Reread) -> String {
    match reread {
        Reread::Unreadable(why) => format!("still unreadable, {why}"),
        Reread::Readable(word) if !word.is_known() => "can be read, and holds what is not known yet".to_owned(),
        Reread::Readable(_) => "would be recorded".to_owned(),
        Reread::Recorded(_, recorded) => match (recorded.outcome, recorded.moved) {
            (_, Some(moved)) => format!("recorded, and the render is now {}", moved.to),
            (Outcome::Unknown, None) => "recorded as far as it is known".to_owned(),
            (Outcome::Late, None) => "recorded, the render had already come further".to_owned(),
            _ => "recorded".to_owned(),
        },
    }
}
