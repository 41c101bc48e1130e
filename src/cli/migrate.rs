//! `renderhook migrate`.

use super::database;
use super::output::Output;
use crate::app;
use crate::config::DatabaseArgs;
use crate::runtime::{LogFormat, MIGRATIONS, start_log};

/// Flags of `migrate`.
#[derive(Debug, clap::Args)]
pub(super) struct MigrateFlags {
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: &MigrateFlags) -> anyhow::Result<()> {
    start_log(LogFormat::Pretty, std::io::stderr);
    let database = database::open(&args.database)?;
    app::prepare(&database).await?;
    Output::default().line(format_args!("all {} migrations are applied", MIGRATIONS.iter().count()))?;
    Ok(())
}
