//! The metrics of downloads.

use super::settlement::Settlement;
use crate::domain::Kind;
use crate::runtime::{CounterFamily, HistogramFamily, Metric, label_value};

/// The metrics of this room.
pub static METRICS: &[&dyn Metric] = &[&ATTEMPTS, &BYTES, &DOWNLOAD_DURATION, &TIME_TO_STORED];

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptLabel {
    Stored,
    Retried,
    AwaitsUrl,
    Postponed,
    Failed,
    Released,
    LeaseLost,
}

impl AttemptLabel {
    const ALL: [Self; 7] =
        [Self::Stored, Self::Retried, Self::AwaitsUrl, Self::Postponed, Self::Failed, Self::Released, Self::LeaseLost];

    /// The same words as in the log: `download.stored` and so on.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Retried => "retried",
            Self::AwaitsUrl => "awaits_url",
            Self::Postponed => "postponed",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::LeaseLost => "lease_lost",
        }
    }

    /// `None` if the attempt has not ended.
    pub(super) const fn of(settlement: &Settlement) -> Option<Self> {
        match settlement {
            Settlement::Stored(_) => Some(Self::Stored),
            Settlement::Retry { .. } | Settlement::TryNewUrl { .. } => Some(Self::Retried),
            Settlement::AwaitUrl { .. } => Some(Self::AwaitsUrl),
            Settlement::Postpone { .. } => Some(Self::Postponed),
            Settlement::GiveUp { .. } => Some(Self::Failed),
            Settlement::Release => Some(Self::Released),
            Settlement::GoAhead => None,
        }
    }
}

label_value!(AttemptLabel, "outcome");

pub(super) static ATTEMPTS: CounterFamily<(AttemptLabel,)> =
    CounterFamily::new("renderhook_download_attempts_total", "Attempts at downloads by how they ended");

pub(super) static BYTES: CounterFamily<()> =
    CounterFamily::new("renderhook_download_bytes_total", "Bytes received from the servers of files");

pub(super) static DOWNLOAD_DURATION: HistogramFamily<()> = HistogramFamily::new(
    "renderhook_download_duration_seconds",
    "Duration of the attempts that stored a file",
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0],
);

pub(super) static TIME_TO_STORED: HistogramFamily<(Kind,)> = HistogramFamily::new(
    "renderhook_time_to_stored_seconds",
    "Time from the record that a render is complete until its last file is stored",
    &[0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0],
);
