//! Checks Magic Hour's API: whether it accepts each key, and whether this machine's clock agrees with its clock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use secrecy::SecretString;
use tokio::time::timeout;
use url::Url;

use super::line::CHECK_TIMEOUT;
use super::line::Finding;
use crate::config::{ApiKeySetting, Dependencies};
use crate::runtime::Clock;
use crate::upstream::{Probe, probe};

/// The smallest clock offset worth a warning: more than network delay and rounding to seconds can explain.
const NOTABLE_OFFSET: TimeDelta = TimeDelta::seconds(5);

pub(super) struct UpstreamFindings {
    /// One for each key, or one that says that there is none.
    pub(super) keys: Vec<Finding>,
    pub(super) clock: Finding,
}

/// Checks each key, and the clock. For the clock, the `Date` of any answer is enough, so it works without a key, too.
pub(super) async fn check(dependencies: &Dependencies, clock: &Clock) -> UpstreamFindings {
    let Some(url) = &dependencies.api_url else {
        let invalid = || Finding::invalid("MAGIC_HOUR_API_URL");
        return UpstreamFindings { keys: vec![invalid()], clock: invalid() };
    };
    let keys = match &dependencies.api_keys {
        ApiKeySetting::Set(keys) => keys.as_slice(),
        ApiKeySetting::Unset | ApiKeySetting::Invalid => &[],
    };
    let sent_at = clock.now();
    let first = ask(url, keys.first()).await;
    let answered_at = clock.now();
    let offset = match &first {
        Ok(Probe { date: Some(date), .. }) => Ok(offset(sent_at, answered_at, *date)),
        Ok(Probe { date: None, .. }) => Err(format!("the answer of {} has no date", origin(url))),
        Err(_) => Err(format!("{} cannot be reached", origin(url))),
    };
    let others = join_all(keys.iter().skip(1).map(|key| ask(url, Some(key)))).await;
    let keys = match &dependencies.api_keys {
        ApiKeySetting::Invalid => vec![Finding::invalid("MAGIC_HOUR_API_KEY")],
        ApiKeySetting::Unset => {
            vec![Finding::ok("not set: renders are never polled, and expired URLs are not renewed")]
        }
        ApiKeySetting::Set(_) => std::iter::once(first).chain(others).map(key_finding).collect(),
    };
    UpstreamFindings { keys, clock: clock_finding(offset, dependencies.tolerance) }
}

async fn ask(url: &Url, key: Option<&SecretString>) -> Result<Probe, Finding> {
    match timeout(CHECK_TIMEOUT, probe(url, key)).await {
        Ok(probe) => probe.map_err(|error| Finding::fail(error.to_string())),
        Err(_elapsed) => Err(Finding::no_answer()),
    }
}

fn key_finding(probe: Result<Probe, Finding>) -> Finding {
    match probe {
        Ok(Probe { key: Ok(()), .. }) => Finding::ok("Magic Hour accepts it"),
        Ok(Probe { key: Err(error), .. }) => Finding::fail(error.to_string()),
        Err(finding) => finding,
    }
}

fn clock_finding(offset: Result<TimeDelta, String>, tolerance: Option<Duration>) -> Finding {
    match (offset, tolerance) {
        (_, None) => Finding::invalid("SIGNATURE_TOLERANCE"),
        (Err(why), Some(_)) => Finding::warn(format!("not checked: {why}")),
        (Ok(offset), Some(tolerance)) => offset_finding(offset, tolerance),
    }
}

/// The URL without its path.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// How far our clock is ahead of the server's clock, which showed `date` (in whole seconds) between `sent_at` and
/// `answered_at`. Returns the smallest possible offset.
fn offset(sent_at: DateTime<Utc>, answered_at: DateTime<Utc>, date: DateTime<Utc>) -> TimeDelta {
    let (min, max) = (sent_at - date - TimeDelta::seconds(1), answered_at - date);
    if min > TimeDelta::zero() { min } else { max.min(TimeDelta::zero()) }
}

fn offset_finding(offset: TimeDelta, tolerance: Duration) -> Finding {
    let length = offset.abs().to_std().unwrap_or(Duration::MAX);
    let side = if offset > TimeDelta::zero() { "ahead of" } else { "behind" };
    let seconds = humantime::format_duration(Duration::from_secs(length.as_secs()));
    let text = format!("{seconds} {side} the clock of Magic Hour's API");
    if length > tolerance {
        Finding::fail(format!(
            "{text}: more than SIGNATURE_TOLERANCE, so every event is rejected; set this machine's clock"
        ))
    } else if offset.abs() > NOTABLE_OFFSET {
        Finding::warn(format!("{text}: set this machine's clock"))
    } else {
        Finding::ok("agrees with the clock of Magic Hour's API")
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::CheckStatus::{Fail, Ok, Warn};
    use super::*;

    #[test]
    fn an_offset_is_the_smallest_possible_with_network_delay_and_whole_seconds() {
        let at = |millis: i64| DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap();
        for (asked, answered, date, expected) in [
            (0, 100, 0, 0),
            (900, 1100, 0, 0),
            (900, 1100, 1000, 0),
            (0, 9000, 4000, 0),
            (3500, 3600, 0, 2500),
            (0, 100, 3000, -2900),
        ] {
            let offset = offset(at(asked), at(answered), at(date));
            assert_eq!(offset, TimeDelta::milliseconds(expected), "{asked} {answered} {date}");
        }
    }

    #[test]
    fn an_offset_above_five_seconds_warns_and_one_above_the_tolerance_fails() {
        let minutes = Duration::from_mins(5);
        for (seconds, tolerance, expected, words) in [
            (0, minutes, Ok, "agrees"),
            (-5, minutes, Ok, "agrees"),
            (6, minutes, Warn, "6s ahead of"),
            (-300, minutes, Warn, "5m behind"),
            (-301, minutes, Fail, "5m 1s behind"),
            (2, Duration::from_secs(1), Fail, "2s ahead of"),
            (0, Duration::ZERO, Ok, "agrees"),
        ] {
            let Finding { status, text } = offset_finding(TimeDelta::seconds(seconds), tolerance);
            assert_eq!(status, expected, "{seconds}");
            assert!(text.contains(words), "{seconds}: {text}");
        }
    }
}
