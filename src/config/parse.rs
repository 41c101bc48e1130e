//! Parses settings. Every problem is added to [`ConfigErrors`].

use std::str::FromStr;
use std::time::Duration;

use super::errors::ConfigErrors;

/// The environment variable of a setting, and the text of its default. Each is written only here.
#[derive(Debug, Clone, Copy)]
pub(super) struct SettingWithDefault {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
}

impl SettingWithDefault {
    pub(super) const fn new(name: &'static str, default: &'static str) -> Self {
        Self { name, default }
    }

    /// `text`, or the default if it is empty, because compose files and shells often set empty variables.
    fn or_default(self, text: &str) -> &str {
        non_empty(Some(text)).unwrap_or(self.default)
    }

    /// The parsed value, or an error that says what is `expected`.
    pub(super) fn parse<T: FromStr>(self, text: &str, expected: &str, errors: &mut ConfigErrors) -> Option<T> {
        parse(self.name, self.or_default(text), expected, errors)
    }

    /// `true` or `false`. Returns `false` on an error.
    pub(super) fn flag(self, text: &str, errors: &mut ConfigErrors) -> bool {
        self.parse(text, "true or false", errors).unwrap_or(false)
    }

    /// A duration such as `5m`.
    pub(super) fn duration(self, text: &str, errors: &mut ConfigErrors) -> Option<Duration> {
        let duration = humantime::parse_duration(self.or_default(text).trim()).ok();
        if duration.is_none() {
            errors.add(self.name, "must be a duration such as 30s, 5m, 1h or 30d");
        }
        duration
    }

    /// A number of bytes such as `1MiB`. Returns 0 on an error.
    pub(super) fn bytes(self, text: &str, errors: &mut ConfigErrors) -> u64 {
        let size = self.parse(text, "a size such as 1MiB or 20GiB", errors);
        size.map_or(0, |size: bytesize::ByteSize| size.as_u64())
    }

    /// A whole number from `least` to [`MAX_COUNT`]. Returns `least` on an error.
    pub(super) fn count(self, text: &str, least: usize, errors: &mut ConfigErrors) -> usize {
        let expected = format!("a whole number from {least} to {MAX_COUNT}");
        let number = self.parse(text, &expected, errors);
        if number.is_some_and(|number| !(least..=MAX_COUNT).contains(&number)) {
            errors.add(self.name, format!("must be {expected}"));
        }
        number.unwrap_or(least)
    }
}

/// The longest time that anything is kept.
pub(super) const MAX_RETENTION: Duration = Duration::from_hours(100 * 366 * 24);

/// The largest count that is accepted.
const MAX_COUNT: usize = 10_000;

/// Treats an empty text as not set.
pub(super) fn non_empty(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// The parsed value, or an error that says what is `expected`.
pub(super) fn parse<T: FromStr>(
    name: &'static str,
    text: &str,
    expected: &str,
    errors: &mut ConfigErrors,
) -> Option<T> {
    let value = text.trim().parse().ok();
    if value.is_none() {
        errors.add(name, format!("must be {expected}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: SettingWithDefault = SettingWithDefault::new("N", "7");

    #[test]
    fn durations_and_sizes_have_units() {
        let mut errors = ConfigErrors::default();
        assert_eq!(N.duration("5m", &mut errors), Some(Duration::from_mins(5)));
        assert_eq!(N.duration("30d", &mut errors), Some(Duration::from_hours(720)));
        assert_eq!(N.bytes("1MiB", &mut errors), 1 << 20);
        assert_eq!(N.bytes("20GiB", &mut errors), 20 << 30);
        assert!(errors.is_empty());
        N.duration("soon", &mut errors);
        N.bytes("much", &mut errors);
        assert_eq!(errors.iter().count(), 2);
    }

    #[test]
    fn an_empty_value_means_the_default() {
        let mut errors = ConfigErrors::default();
        assert_eq!(N.count("", 0, &mut errors), 7);
        assert_eq!(N.count("0", 0, &mut errors), 0);
        assert!(errors.is_empty());
        N.count("0", 1, &mut errors);
        N.count("10001", 1, &mut errors);
        assert_eq!(errors.iter().count(), 2);
    }
}
