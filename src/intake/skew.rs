//! Explains why an authentic delivery is stale.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// A timestamp that is this close to now if read as milliseconds is assumed to be in milliseconds.
const MILLISECONDS_TOLERANCE: TimeDelta = TimeDelta::days(2);

/// The difference between a delivery's timestamp and its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockSkew {
    /// The probable cause.
    pub cause: SkewCause,
    /// The signed timestamp, unless it is out of range.
    sent_at: Option<DateTime<Utc>>,
    /// When the delivery arrived.
    received_at: DateTime<Utc>,
}

/// The probable cause of a timestamp outside the tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SkewCause {
    /// The timestamp is in milliseconds instead of seconds.
    Milliseconds,
    /// The timestamp is old: this is a late retry, or our clock is ahead.
    Past,
    /// The timestamp is in the future: our clock is behind, or the sender's clock is ahead.
    Future,
}

impl SkewCause {
    /// A stable code for the log field `error`.
    #[must_use]
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Milliseconds => "signed_in_milliseconds",
            Self::Past => "signed_too_long_ago",
            Self::Future => "signed_in_the_future",
        }
    }
}

impl ClockSkew {
    /// Compares a timestamp with the time of arrival. `None` is a timestamp out of range, such as one in milliseconds.
    #[must_use]
    pub(super) fn of(sent_at: Option<DateTime<Utc>>, received_at: DateTime<Utc>) -> Self {
        let in_seconds = sent_at.and_then(|sent_at| DateTime::from_timestamp_millis(sent_at.timestamp()));
        let cause = match (sent_at, in_seconds) {
            (None, _) => SkewCause::Milliseconds,
            (_, Some(read)) if (read - received_at).abs() <= MILLISECONDS_TOLERANCE => SkewCause::Milliseconds,
            (Some(sent_at), _) if sent_at < received_at => SkewCause::Past,
            _ => SkewCause::Future,
        };
        Self { cause, sent_at, received_at }
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let sent_at = self.sent_at.map_or_else(|| "a time that is out of range".to_owned(), format);
        write!(f, "It was signed at {sent_at}, and arrived at {}: ", format(self.received_at))?;
        f.write_str(match self.cause {
            SkewCause::Milliseconds => "the sender's timestamps are in milliseconds, but Magic Hour's are in seconds",
            SkewCause::Past => {
                "either this is a late retry with its first signature, or this machine's clock is ahead; `renderhook check` \
                 compares it with Magic Hour's clock"
            }
            SkewCause::Future => {
                "this machine's clock is behind, or the sender's clock is ahead; `renderhook check` compares it with Magic Hour's \
                 clock"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_cause_of_a_stale_timestamp_is_recognized() {
        let now = at(1_800_000_000);
        for (sent_at, cause, sentence) in [
            (Some(at(1_799_990_000)), SkewCause::Past, "late retry"),
            (Some(at(0)), SkewCause::Past, "clock is ahead"),
            (Some(at(1_800_001_000)), SkewCause::Future, "clock is behind"),
            (Some(at(1_800_000_000_123)), SkewCause::Milliseconds, "milliseconds"),
            (None, SkewCause::Milliseconds, "out of range"),
        ] {
            let skew = ClockSkew::of(sent_at, now);
            assert_eq!(skew.cause, cause, "{sent_at:?}");
            let text = skew.to_string();
            assert!(text.contains(sentence) && text.contains("arrived at 2027-01-15T08:00:00Z"), "{text}");
        }
    }
}
