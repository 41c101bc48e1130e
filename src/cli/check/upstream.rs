//! Magic Hour's API: whether it accepts the key, and whether our clock agrees with its clock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use url::Url;

use super::dependencies::{PATIENCE, no_answer};
use super::line::Finding;
use crate::config::Dependencies;
use crate::runtime::Clock;
use crate::upstream::{Probe, UpstreamError, client};

/// How far a clock may be off before that is worth a warning: more than network delay and whole seconds explain.
const NOTABLE: TimeDelta = TimeDelta::seconds(5);

pub(super) struct UpstreamFindings {
    pub(super) key: Finding,
    pub(super) clock: Finding,
}

/// Checks the key, and the clock by the time in the API's answer, which it gives without a key, too.
pub(super) async fn check(dependencies: &Dependencies, clock: &Clock) -> UpstreamFindings {
    let Some(url) = &dependencies.api_url else {
        let invalid = || Finding::invalid("MAGIC_HOUR_API_URL");
        return UpstreamFindings { key: invalid(), clock: invalid() };
    };
    let key = dependencies.api_key.as_ref();
    let asked = clock.now();
    let probe = timeout(PATIENCE, client::probe(url, key.and_then(Option::as_ref))).await;
    let answered = clock.now();
    let offset = match &probe {
        Ok(Ok(Probe { date: Some(date), .. })) => Ok(offset(asked, answered, *date)),
        Ok(Ok(Probe { date: None, .. })) => Err(format!("the answer of {} has no date", origin(url))),
        Ok(Err(_)) | Err(_) => Err(format!("{} cannot be reached", origin(url))),
    };
    UpstreamFindings { key: key_finding(key, probe), clock: clock_finding(offset, dependencies.tolerance) }
}

fn key_finding(key: Option<&Option<SecretString>>, probe: Result<Result<Probe, UpstreamError>, Elapsed>) -> Finding {
    match (key, probe) {
        (None, _) => Finding::invalid("MAGIC_HOUR_API_KEY"),
        (Some(None), _) => Finding::ok("none is set: renders are never polled, and expired URLs are not renewed"),
        (Some(Some(_)), Ok(Ok(Probe { key: Ok(()), .. }))) => Finding::ok("Magic Hour accepts it"),
        (Some(Some(_)), Ok(Ok(Probe { key: Err(error), .. }) | Err(error))) => Finding::fail(error.to_string()),
        (Some(Some(_)), Err(_elapsed)) => no_answer(),
    }
}

fn clock_finding(offset: Result<TimeDelta, String>, tolerance: Option<Duration>) -> Finding {
    match (offset, tolerance) {
        (_, None) => Finding::invalid("SIGNATURE_TOLERANCE"),
        (Err(why), Some(_)) => Finding::warn(format!("cannot be compared: {why}")),
        (Ok(offset), Some(tolerance)) => judge(offset, tolerance),
    }
}

/// A URL without its path.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// How far our clock is ahead of the clock that said `date` (a whole second) between `asked` and `answered`: the least that
/// is possible.
fn offset(asked: DateTime<Utc>, answered: DateTime<Utc>, date: DateTime<Utc>) -> TimeDelta {
    let (least, most) = (asked - date - TimeDelta::seconds(1), answered - date);
    if least > TimeDelta::zero() { least } else { most.min(TimeDelta::zero()) }
}

fn judge(offset: TimeDelta, tolerance: Duration) -> Finding {
    let length = offset.abs().to_std().unwrap_or(Duration::MAX);
    let side = if offset > TimeDelta::zero() { "ahead of" } else { "behind" };
    let seconds = humantime::format_duration(Duration::from_secs(length.as_secs()));
    let text = format!("{seconds} {side} the clock of Magic Hour's API");
    if length > tolerance {
        Finding::fail(format!(
            "{text}: more than SIGNATURE_TOLERANCE, so every event is refused; set this machine's clock"
        ))
    } else if offset.abs() > NOTABLE {
        Finding::warn(format!("{text}: set this machine's clock"))
    } else {
        Finding::ok("agrees with the clock of Magic Hour's API")
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Verdict::{Fail, Ok, Warn};
    use super::*;

    #[test]
    fn an_offset_is_the_least_that_whole_seconds_and_network_delay_leave_possible() {
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
            let Finding { verdict, text } = judge(TimeDelta::seconds(seconds), tolerance);
            assert_eq!(verdict, expected, "{seconds}");
            assert!(text.contains(words), "{seconds}: {text}");
        }
    }
}
