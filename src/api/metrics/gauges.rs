//! Current values, from the database and from this process.

use chrono::{DateTime, Utc};
use metrics::Label;

use crate::archive::Backlog;
use crate::domain::{DownloadState, Kind, NotificationState, Status};
use crate::runtime::{
    CounterFamily, GaugeFamily, LabelSet, LabelValue, ListedLabels, Metric, PoolUse, Tally, Totals, label_value,
};

/// The metrics that are set for each answer.
pub static METRICS: &[&dyn Metric] = &[
    &BUILD_INFO,
    &DATABASE_UP,
    &POOL_CONNECTIONS,
    &SUBSCRIBERS,
    &RENDERS,
    &CREDITS,
    &DOWNLOADS,
    &ENDANGERED,
    &TIME_LEFT,
    &NOTIFICATIONS,
    &OLDEST_PENDING,
    &MISSING_WEBHOOKS,
    &UPSTREAM_PAUSED,
];

static BUILD_INFO: GaugeFamily<(BuildVersion,)> =
    GaugeFamily::new("renderhook_build_info", "The version of this process");
static DATABASE_UP: GaugeFamily<()> =
    GaugeFamily::new("renderhook_database_up", "Whether the database answered; if not, the values from it are missing");
static POOL_CONNECTIONS: GaugeFamily<(ConnectionState,)> =
    GaugeFamily::new("renderhook_db_pool_connections", "Connections of this process to Postgres");
static SUBSCRIBERS: GaugeFamily<()> =
    GaugeFamily::new("renderhook_subscribers", "Open streams and waiting requests of this process");

static RENDERS: GaugeFamily<(Kind, Option<Status>)> =
    GaugeFamily::new("renderhook_renders", "Renders by kind and status; the status is unknown until one is reported");
static CREDITS: CounterFamily<(Kind,)> =
    CounterFamily::new("renderhook_credits_charged_total", "Credits charged for complete renders");
static DOWNLOADS: GaugeFamily<(DownloadState,)> = GaugeFamily::new("renderhook_downloads", "Downloads by state");
static ENDANGERED: GaugeFamily<()> = GaugeFamily::new(
    "renderhook_downloads_endangered",
    "Downloads that keep failing or were not attempted, with less than two hours until their URL expires",
);
static TIME_LEFT: GaugeFamily<()> = GaugeFamily::new(
    "renderhook_download_time_left_seconds",
    "Time until the first URL of an unstored file expires; negative once it has expired",
);
static NOTIFICATIONS: GaugeFamily<(NotificationState,)> =
    GaugeFamily::new("renderhook_notifications", "Notifications to post by state");
static OLDEST_PENDING: GaugeFamily<(WorkQueue,)> = GaugeFamily::new(
    "renderhook_oldest_pending_seconds",
    "How long the oldest waiting download or notification has waited, or by how much a poll is late",
);
static MISSING_WEBHOOKS: GaugeFamily<()> = GaugeFamily::new(
    "renderhook_webhooks_missing",
    "Renders that ended in the last 24 hours according to polls, without a webhook; among the latest 1000",
);

static UPSTREAM_PAUSED: GaugeFamily<AccountPosition> = GaugeFamily::new(
    "renderhook_upstream_paused",
    "Whether calls with the key at this position of MAGIC_HOUR_API_KEY are paused",
);

/// The position of an account's key, from 1. There are as many as there are keys.
#[derive(Debug, Clone, Copy)]
struct AccountPosition(usize);

impl LabelSet for AccountPosition {
    const NAMES: &'static [&'static str] = &["account"];

    fn labels(self) -> Vec<Label> {
        vec![Label::new("account", self.0.to_string())]
    }
}

/// The version of this process.
#[derive(Debug, Clone, Copy)]
struct BuildVersion;

impl LabelValue for BuildVersion {
    const NAME: &'static str = "version";

    fn all() -> Vec<Self> {
        vec![Self]
    }

    fn value(self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// Whether a connection is used.
#[derive(Debug, Clone, Copy)]
enum ConnectionState {
    Idle,
    InUse,
}

impl ConnectionState {
    const ALL: [Self; 2] = [Self::Idle, Self::InUse];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::InUse => "in_use",
        }
    }
}

label_value!(ConnectionState, "state");

/// A queue of work.
#[derive(Debug, Clone, Copy)]
enum WorkQueue {
    Downloads,
    Notifications,
    Polls,
}

impl WorkQueue {
    const ALL: [Self; 3] = [Self::Downloads, Self::Notifications, Self::Polls];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Downloads => "downloads",
            Self::Notifications => "notifications",
            Self::Polls => "polls",
        }
    }
}

label_value!(WorkQueue, "queue");

/// The values from this process.
#[derive(Debug)]
pub(super) struct ProcessValues {
    pub(super) pool: PoolUse,
    pub(super) subscribers: usize,
}

impl ProcessValues {
    /// Sets the metrics of the process. `is_database_up`: whether the database answered.
    pub(super) fn set(&self, is_database_up: bool) {
        BUILD_INFO.set((BuildVersion,), 1.0);
        DATABASE_UP.set((), f64::from(u8::from(is_database_up)));
        POOL_CONNECTIONS.set((ConnectionState::Idle,), self.pool.idle.into());
        POOL_CONNECTIONS.set((ConnectionState::InUse,), self.pool.in_use.into());
        SUBSCRIBERS.set((), u32::try_from(self.subscribers).unwrap_or(u32::MAX).into());
    }
}

/// The values from the database.
#[derive(Debug)]
pub(super) struct DatabaseValues {
    pub(super) now: DateTime<Utc>,
    pub(super) totals: Totals,
    pub(super) backlog: Backlog,
    pub(super) missing_webhooks: i64,
    pub(super) notifications_wait_since: Option<DateTime<Utc>>,
    pub(super) polls_due_since: Option<DateTime<Utc>>,
    /// The positions of the accounts, and whether their calls are paused.
    pub(super) accounts: Vec<(usize, bool)>,
}

impl DatabaseValues {
    /// Sets the metrics from the database.
    pub(super) fn set(&self) {
        for labels in <(Kind, Option<Status>)>::all() {
            RENDERS.set(labels, self.totals.get(Tally::Renders(labels.0, labels.1)));
        }
        for kind in Kind::ALL {
            CREDITS.set((kind,), whole(self.totals.get(Tally::Credits(kind))));
        }
        for state in NotificationState::ALL {
            NOTIFICATIONS.set((state,), self.totals.get(Tally::Notifications(state)));
        }
        self.set_downloads();
        for (queue, since) in [
            (WorkQueue::Downloads, self.backlog.oldest_observed_at),
            (WorkQueue::Notifications, self.notifications_wait_since),
            (WorkQueue::Polls, self.polls_due_since),
        ] {
            let waited = since.map_or(0.0, |since| (self.now - since).as_seconds_f64());
            OLDEST_PENDING.set((queue,), waited.max(0.0));
        }
        MISSING_WEBHOOKS.set((), number(self.missing_webhooks));
        for (position, is_paused) in &self.accounts {
            UPSTREAM_PAUSED.set(AccountPosition(*position), f64::from(u8::from(*is_paused)));
        }
    }

    fn set_downloads(&self) {
        let Self { backlog, totals, .. } = self;
        let downloading = number(backlog.downloading);
        // The totals and the backlog are read one after the other, so a download may be in both.
        let pending = (totals.get(Tally::FilesUnsettled) - downloading).max(0.0);
        for (state, count) in [
            (DownloadState::Pending, pending),
            (DownloadState::Downloading, downloading),
            (DownloadState::Stored, totals.get(Tally::FilesStored)),
            (DownloadState::Failed, totals.get(Tally::FilesFailed)),
        ] {
            DOWNLOADS.set((state,), count);
        }
        ENDANGERED.set((), number(backlog.endangered));
        if let Some(expires_at) = backlog.first_expires_at {
            TIME_LEFT.set((), (expires_at - self.now).as_seconds_f64());
        }
    }
}

/// A count as a metric's value.
#[expect(clippy::cast_precision_loss, reason = "no count of rows comes near 2^52")]
const fn number(count: i64) -> f64 {
    count as f64
}

/// A total as a counter's value.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
const fn whole(total: f64) -> u64 {
    total as u64
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::runtime::rendered_now;

    fn values() -> DatabaseValues {
        let now = DateTime::UNIX_EPOCH;
        let backlog = Backlog {
            downloading: 2,
            first_expires_at: None,
            oldest_observed_at: Some(now - TimeDelta::seconds(30)),
            endangered: 1,
            most_urgent: None,
            most_urgent_expires_at: None,
        };
        let totals = Totals::from_iter([
            (Tally::Renders(Kind::Video, Some(Status::Complete)), 7.0),
            (Tally::Renders(Kind::Audio, None), 1.0),
            (Tally::Credits(Kind::Video), 4500.0),
            (Tally::FilesUnsettled, 5.0),
            (Tally::FilesFailed, 1.0),
            (Tally::FilesStored, 12.0),
            (Tally::Notifications(NotificationState::Failed), 3.0),
        ]);
        let missing_webhooks = 4;
        // A poll that is not due yet.
        let polls_due_since = Some(now + TimeDelta::seconds(10));
        let accounts = vec![(1, false), (2, true)];
        let notifications_wait_since = None;
        DatabaseValues { now, totals, backlog, missing_webhooks, notifications_wait_since, polls_due_since, accounts }
    }

    fn text(values: &DatabaseValues) -> String {
        rendered_now(METRICS, || values.set())
    }

    #[test]
    fn values_from_the_database_are_rendered_in_the_prometheus_format() {
        let text = text(&values());
        for line in [
            "# TYPE renderhook_downloads gauge",
            "renderhook_downloads{state=\"pending\"} 3",
            "renderhook_downloads{state=\"downloading\"} 2",
            "renderhook_downloads{state=\"stored\"} 12",
            "renderhook_downloads{state=\"failed\"} 1",
            "renderhook_downloads_endangered 1",
            "renderhook_webhooks_missing 4",
            "renderhook_renders{kind=\"video\",status=\"complete\"} 7",
            "renderhook_renders{kind=\"audio\",status=\"unknown\"} 1",
            "renderhook_renders{kind=\"image\",status=\"queued\"} 0",
            "renderhook_credits_charged_total{kind=\"video\"} 4500",
            "renderhook_notifications{state=\"failed\"} 3",
            "renderhook_oldest_pending_seconds{queue=\"downloads\"} 30",
            "renderhook_oldest_pending_seconds{queue=\"notifications\"} 0",
            "renderhook_oldest_pending_seconds{queue=\"polls\"} 0",
            "renderhook_upstream_paused{account=\"1\"} 0",
            "renderhook_upstream_paused{account=\"2\"} 1",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn the_time_left_is_missing_while_no_url_has_a_known_expiry() {
        let mut values = values();
        assert!(!text(&values).contains("renderhook_download_time_left_seconds "));
        values.backlog.first_expires_at = Some(values.now - TimeDelta::milliseconds(1500));
        assert!(text(&values).contains("renderhook_download_time_left_seconds -1.5\n"));
    }
}
