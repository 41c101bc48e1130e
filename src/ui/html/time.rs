//! Times, shown relative to now, with the exact time as a tooltip.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

/// A time relative to now. The script updates it.
pub(in crate::ui) fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let exact = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let title = at.format("%a, %-d %b %Y, %H:%M:%S UTC").to_string();
    html! { time datetime=(exact) title=(title) { (relative(at - now)) } }
}

/// The time until a deadline, or `passed` after it.
pub(in crate::ui) fn until(at: DateTime<Utc>, now: DateTime<Utc>, passed: &str) -> Markup {
    let tone = match at - now {
        left if left <= TimeDelta::zero() => "bad-text",
        left if left < TimeDelta::hours(2) => "warning-text",
        _ => "",
    };
    html! {
        span class=[(!tone.is_empty()).then_some(tone)] {
            @if at <= now { (passed) " " }
            (when(at, now))
        }
    }
}

/// How late something arrived.
pub(in crate::ui) fn lag(millis: i64) -> String {
    match millis.unsigned_abs() {
        below @ 0..1_000 => format!("{}{below} ms", sign(millis)),
        below @ 1_000..60_000 => format!("{}{}.{} s", sign(millis), below / 1_000, below % 1_000 / 100),
        more => format!("{}{}", sign(millis), rough(TimeDelta::milliseconds(i64::try_from(more).unwrap_or(i64::MAX)))),
    }
}

fn sign(number: i64) -> &'static str {
    if number < 0 { "-" } else { "" }
}

fn relative(difference: TimeDelta) -> String {
    let distance = rough(difference.abs());
    match difference.num_seconds() {
        0 => "now".to_owned(),
        past if past < 0 => format!("{distance} ago"),
        _ => format!("in {distance}"),
    }
}

/// A duration in its largest unit. The script has the same rule.
fn rough(duration: TimeDelta) -> String {
    match duration.num_seconds() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => {
            let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
            if hours < 10 && minutes > 0 { format!("{hours} h {minutes} min") } else { format!("{hours} h") }
        }
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_relative_to_now() {
        for (seconds, expected) in [
            (0, "now"),
            (-1, "1 s ago"),
            (-59, "59 s ago"),
            (-60, "1 min ago"),
            (-3_599, "59 min ago"),
            (-3_600, "1 h ago"),
            (-5_400, "1 h 30 min ago"),
            (-36_060, "10 h ago"),
            (-86_400, "24 h ago"),
            (-172_800, "2 d ago"),
            (90, "in 1 min"),
        ] {
            assert_eq!(relative(TimeDelta::seconds(seconds)), expected);
        }
    }

    #[test]
    fn a_lag_is_shown_in_its_unit() {
        for (millis, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_050, "1.0 s"),
            (-1_500, "-1.5 s"),
            (61_000, "1 min"),
            (i64::MIN, "-106751991167 d"),
        ] {
            assert_eq!(lag(millis), expected);
        }
    }
}
