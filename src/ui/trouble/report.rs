//! What is in trouble.

use chrono::{DateTime, TimeDelta, Utc};

use crate::archive::Backlog;
use crate::domain::{Kind, Status};
use crate::runtime::{Database, DatabaseError, REQUEST_TIMEOUT, Tally, Totals};
use crate::ui::queries::{
    FailedRenders, ServiceWarnings, TroubledDownloads, failed_renders, service_warnings, troubled_downloads,
};
use crate::upstream::{MISSING_WEBHOOKS_LIMIT, count_missing_webhooks};

/// Failed renders that were first seen longer ago than this are not shown.
const RENDERS_WINDOW: TimeDelta = TimeDelta::hours(24);

/// Everything that the first page shows.
#[derive(Debug)]
pub(super) struct TroubleReport {
    pub(super) downloads: Vec<TroubledDownloads>,
    pub(super) renders: Vec<FailedRenders>,
    pub(super) warnings: ServiceWarnings,
    pub(super) backlog: Backlog,
    pub(super) missing_webhooks: i64,
    pub(super) queued: i64,
    pub(super) rendering: i64,
    pub(super) complete: i64,
    pub(super) files_waiting: i64,
    pub(super) files_stored: i64,
    pub(super) files_failed: i64,
}

impl TroubleReport {
    pub(super) async fn read(database: &Database, now: DateTime<Utc>) -> Result<Self, DatabaseError> {
        let pool = database.pool();
        let read = async {
            let totals = Totals::read(pool).await?;
            let renders =
                |status| Kind::ALL.iter().map(|kind| total(&totals, Tally::Renders(*kind, Some(status)))).sum();
            Ok(Self {
                downloads: troubled_downloads(pool).await?,
                renders: failed_renders(pool, now - RENDERS_WINDOW).await?,
                warnings: service_warnings(pool, now).await?,
                backlog: Backlog::read(pool, now).await?,
                missing_webhooks: count_missing_webhooks(pool, now, MISSING_WEBHOOKS_LIMIT).await?,
                queued: renders(Status::Queued),
                rendering: renders(Status::Rendering),
                complete: renders(Status::Complete),
                files_waiting: total(&totals, Tally::FilesUnsettled),
                files_stored: total(&totals, Tally::FilesStored),
                files_failed: total(&totals, Tally::FilesFailed),
            })
        };
        database.with_timeout(REQUEST_TIMEOUT, read).await
    }

    /// How many things need a look.
    pub(super) fn problems(&self) -> i64 {
        let ServiceWarnings { notifications, deliveries, not_found, stalled, paused_until } = &self.warnings;
        let singles = [
            self.backlog.endangered > 0,
            self.missing_webhooks > 0,
            !not_found.is_empty(),
            !stalled.is_empty(),
            paused_until.is_some(),
        ];
        let groups = self.downloads.len() + self.renders.len() + notifications.len() + deliveries.len();
        let problems = groups + singles.into_iter().filter(|&is_wrong| is_wrong).count();
        i64::try_from(problems).unwrap_or(i64::MAX)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn total(totals: &Totals, tally: Tally) -> i64 {
    totals.get(tally) as i64
}
