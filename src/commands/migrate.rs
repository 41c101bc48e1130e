//! `renderhook migrate`.

use anyhow::Context;

use crate::app;
use crate::config::{DatabaseArgs, Mistakes};
use crate::database::{Database, MIGRATIONS};

/// Flags of `migrate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut mistakes = Mistakes::default();
    let url = args.database.read(&mut mistakes);
    let url = mistakes.or(url)?;
    let database = Database::new(&url).context("DATABASE_URL is no URL of a Postgres database")?;
    app::prepare(&database).await?;
    println!("the database has all {} migrations", MIGRATIONS.iter().count());
    Ok(())
}
