//! Shared by the commands that only need the database.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{ConfigErrors, DatabaseArgs};
use crate::runtime::Database;

/// The database in the flags, without connecting yet.
pub(super) fn open(args: &DatabaseArgs) -> anyhow::Result<Database> {
    let mut errors = ConfigErrors::default();
    let urls = args.read(&mut errors);
    let urls = errors.into_result(urls)?;
    Database::new(&urls).context("DATABASE_URL or DATABASE_DIRECT_URL is not a Postgres URL")
}

/// Connects to the database in the flags, and checks that it has this version's schema.
pub(super) async fn connect(args: &DatabaseArgs) -> anyhow::Result<Database> {
    let database = open(args)?;
    database.connect().await?;
    if !database.is_migrated().await? {
        bail!("the database is missing migrations: run `renderhook migrate`");
    }
    Ok(database)
}

/// The time `duration` before `now`. `None` without a duration, or if that time cannot be represented.
pub(super) fn time_ago(duration: Option<Duration>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    now.checked_sub_signed(TimeDelta::from_std(duration?).ok()?)
}
