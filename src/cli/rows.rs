//! What the commands have in common that work on the database alone.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{ConfigErrors, DatabaseArgs};
use crate::runtime::Database;

/// Connections to the database that the flags name; none is made yet.
pub(super) fn database(args: &DatabaseArgs) -> anyhow::Result<Database> {
    let mut errors = ConfigErrors::default();
    let urls = args.read(&mut errors);
    let urls = errors.or(urls)?;
    Database::new(&urls).context("DATABASE_URL or DATABASE_DIRECT_URL is not a Postgres URL")
}

/// The database that the flags name, which answers and has this version's schema.
pub(super) async fn connect(args: &DatabaseArgs) -> anyhow::Result<Database> {
    let database = database(args)?;
    database.connect().await?;
    if !database.is_migrated().await? {
        bail!("the database lacks migrations of this version: `renderhook migrate` applies them");
    }
    Ok(database)
}

/// The time so long before `now`; none for one that lies before every other.
pub(super) fn ago(length: Option<Duration>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    now.checked_sub_signed(TimeDelta::from_std(length?).ok()?)
}
