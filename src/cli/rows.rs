//! What the commands have in common that work on the database alone.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{ConfigErrors, DatabaseArgs};
use crate::runtime::Database;

/// Connections to the database that the flags name.
pub(super) fn database(args: &DatabaseArgs) -> anyhow::Result<Database> {
    let mut errors = ConfigErrors::default();
    let url = args.read(&mut errors);
    let url = errors.or(url)?;
    Database::new(&url).context("DATABASE_URL is no URL of a Postgres database")
}

/// The time so long before `now`; none for one that lies before every other.
pub(super) fn ago(length: Option<Duration>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    now.checked_sub_signed(TimeDelta::from_std(length?).ok()?)
}
