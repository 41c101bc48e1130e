//! Running totals, so that `GET /metrics` does not have to count rows.
//!
//! Code that changes something that is counted adds the difference to a [`Tallies`] and writes it as the last statement of
//! the same transaction, so the totals are exact after every commit. Each total is split over several rows (shards), and
//! a transaction writes to one random shard, in the order of the names. So transactions neither queue for one row nor
//! deadlock.

use std::collections::BTreeMap;

use sqlx::{PgConnection, PgPool};

use crate::domain::{FileCounts, Kind, NotificationState, Status};

/// How many rows each total is split over.
const SHARDS: i16 = 16;

/// A running total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tally {
    /// The number of renders of this kind with this status.
    Renders(Kind, Option<Status>),
    /// The credits charged for complete renders of this kind.
    Credits(Kind),
    /// The number of files that are neither stored nor failed.
    FilesUnsettled,
    /// The number of stored files.
    FilesStored,
    /// The number of failed files.
    FilesFailed,
    /// The number of notifications to post in this state.
    Notifications(NotificationState),
}

impl Tally {
    /// The name in the table `tallies`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Renders(kind, status) => format!("renders.{kind}.{}", status.map_or("unknown", Status::as_str)),
            Self::Credits(kind) => format!("credits.{kind}"),
            Self::FilesUnsettled => "files.unsettled".to_owned(),
            Self::FilesStored => "files.stored".to_owned(),
            Self::FilesFailed => "files.failed".to_owned(),
            Self::Notifications(state) => format!("notifications.{state}"),
        }
    }
}

/// The differences that a transaction adds to the totals.
#[derive(Debug, Default)]
pub struct Tallies(BTreeMap<String, i128>);

impl Tallies {
    /// Adds `difference` to a total.
    pub fn add(&mut self, tally: Tally, difference: impl Into<i128>) {
        *self.0.entry(tally.name()).or_default() += difference.into();
    }

    /// Adds the change of a render's file counts.
    pub fn add_files(&mut self, from: FileCounts, to: FileCounts) {
        self.add(Tally::FilesUnsettled, to.unsettled() - from.unsettled());
        self.add(Tally::FilesStored, to.stored - from.stored);
        self.add(Tally::FilesFailed, to.failed - from.failed);
    }

    /// Adds a notification that changes its state; `None` is one that is not posted, or does not exist.
    pub fn add_notification(&mut self, from: Option<NotificationState>, to: Option<NotificationState>) {
        for (state, by) in [(from, -1), (to, 1)] {
            if let Some(state) = state {
                self.add(Tally::Notifications(state), by);
            }
        }
    }

    /// The names and the nonzero differences, as statement parameters.
    pub(crate) fn into_rows(self) -> (Vec<String>, Vec<String>) {
        self.0.into_iter().filter(|(_, by)| *by != 0).map(|(name, by)| (name, by.to_string())).unzip()
    }

    /// A random shard for a transaction to write to.
    pub(crate) fn shard() -> i16 {
        rand::random_range(0..SHARDS)
    }

    /// Writes the differences. Call it last, because other transactions with the same shard wait until the commit.
    pub async fn write(self, transaction: &mut PgConnection) -> sqlx::Result<()> {
        let (names, differences) = self.into_rows();
        if names.is_empty() {
            return Ok(());
        }
        let written = sqlx::query!(
            "INSERT INTO tallies AS t (name, shard, value)
             SELECT name, $3, by::numeric FROM unnest($1::text[], $2::text[]) AS added (name, by) ORDER BY name
             ON CONFLICT (name, shard) DO UPDATE SET value = t.value + excluded.value",
            &names,
            &differences,
            Self::shard(),
        );
        written.execute(transaction).await.map(drop)
    }
}

/// The totals at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals(BTreeMap<String, f64>);

impl Totals {
    /// Reads every total.
    pub async fn read(pool: &PgPool) -> sqlx::Result<Self> {
        let rows = sqlx::query!(r#"SELECT name, sum(value)::float8 AS "value!" FROM tallies GROUP BY name"#);
        Ok(Self(rows.fetch_all(pool).await?.into_iter().map(|row| (row.name, row.value)).collect()))
    }

    /// A total; 0 if nothing was ever counted.
    #[must_use]
    pub fn get(&self, tally: Tally) -> f64 {
        self.0.get(&tally.name()).copied().unwrap_or_default()
    }
}

impl FromIterator<(Tally, f64)> for Totals {
    fn from_iter<I: IntoIterator<Item = (Tally, f64)>>(totals: I) -> Self {
        Self(totals.into_iter().map(|(tally, value)| (tally.name(), value)).collect())
    }
}
