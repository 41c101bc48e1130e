//! Why an authentic delivery is stale: what its time says of the two clocks.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// How far a clock may be off before a time that only fits in another unit is taken for that unit.
const NEAR: TimeDelta = TimeDelta::days(2);

/// What a delivery's time says, beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skew {
    /// What it looks like.
    pub cause: Cause,
    /// The time that was signed, if a calendar has it.
    sent_at: Option<DateTime<Utc>>,
    /// Ours.
    received_at: DateTime<Utc>,
}

/// What a time outside the tolerance looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Milliseconds in the place of seconds.
    Milliseconds,
    /// Long ago: a late repetition, or our clock is ahead.
    Past,
    /// Yet to come: our clock is behind, or the sender's ahead.
    Future,
}

impl Cause {
    /// A stable word for logs.
    #[must_use]
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Milliseconds => "signed_in_milliseconds",
            Self::Past => "signed_too_long_ago",
            Self::Future => "signed_in_the_future",
        }
    }
}

impl Skew {
    /// Judges a signed time; `None` is one that no calendar has, which only milliseconds or worse can be.
    #[must_use]
    pub(super) fn of(sent_at: Option<DateTime<Utc>>, received_at: DateTime<Utc>) -> Self {
        let in_seconds = sent_at.and_then(|sent_at| DateTime::from_timestamp_millis(sent_at.timestamp()));
        let cause = match (sent_at, in_seconds) {
            (None, _) => Cause::Milliseconds,
            (_, Some(read)) if (read - received_at).abs() <= NEAR => Cause::Milliseconds,
            (Some(sent_at), _) if sent_at < received_at => Cause::Past,
            _ => Cause::Future,
        };
        Self { cause, sent_at, received_at }
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let sent_at = self.sent_at.map_or_else(|| "no time that a calendar has".to_owned(), told);
        write!(f, "signed at {sent_at}, and it is {} here: ", told(self.received_at))?;
        f.write_str(match self.cause {
            Cause::Milliseconds => "the sender signs milliseconds where Magic Hour signs seconds",
            Cause::Past => {
                "either it is a late repetition that keeps its first signature, or this machine's clock is ahead; \
                 `renderhook check` compares it with Magic Hour's"
            }
            Cause::Future => {
                "this machine's clock is behind, or the sender's ahead; `renderhook check` compares it with Magic Hour's"
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
    fn a_time_tells_which_clock_is_off_and_milliseconds_are_known_for_what_they_are() {
        let now = at(1_800_000_000);
        for (sent_at, cause, sentence) in [
            (Some(at(1_799_990_000)), Cause::Past, "late repetition"),
            (Some(at(0)), Cause::Past, "clock is ahead"),
            (Some(at(1_800_001_000)), Cause::Future, "clock is behind"),
            (Some(at(1_800_000_000_123)), Cause::Milliseconds, "milliseconds"),
            (None, Cause::Milliseconds, "no time that a calendar has"),
        ] {
            let skew = Skew::of(sent_at, now);
            assert_eq!(skew.cause, cause, "{sent_at:?}");
            let told = skew.to_string();
            assert!(told.contains(sentence) && told.contains("2027-01-15T08:00:00Z here"), "{told}");
        }
    }
}
