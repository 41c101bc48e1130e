//! From texts to values, with every mistake noted.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

/// What is wrong with one setting. Names it, and never shows a secret's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The setting's name in the environment.
    pub name: Cow<'static, str>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Mistake>);

impl ConfigErrors {
    /// Notes one.
    pub fn note(&mut self, name: impl Into<Cow<'static, str>>, problem: impl Into<String>) {
        self.0.push(Mistake { name: name.into(), problem: problem.into() });
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value`, unless a mistake was noted.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings need attention:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {}: {}", mistake.name, mistake.problem))
    }
}

impl std::error::Error for ConfigErrors {}

/// A text that is there: an empty one counts as not set, as compose files and shells leave it.
pub(super) fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// A text with a default: an empty variable counts as not set.
pub(super) fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    given(Some(text)).unwrap_or(default)
}

/// A value that parses, or a mistake that says what would.
pub(super) fn parsed<T: FromStr>(
    name: &'static str,
    text: &str,
    expected: &str,
    mistakes: &mut ConfigErrors,
) -> Option<T> {
    let value = text.trim().parse().ok();
    if value.is_none() {
        mistakes.note(name, format!("must be {expected}"));
    }
    value
}

/// A length of time such as `5m`, or a mistake.
pub(super) fn duration(name: &'static str, text: &str, mistakes: &mut ConfigErrors) -> Option<Duration> {
    let duration = humantime::parse_duration(text.trim()).ok();
    if duration.is_none() {
        mistakes.note(name, "must be a length of time such as 30s, 5m, 1h or 30d");
    }
    duration
}

/// A number of bytes such as `1MiB`.
pub(super) fn bytes(name: &'static str, text: &str, mistakes: &mut ConfigErrors) -> u64 {
    let size = parsed(name, text, "a size such as 1MiB or 20GiB", mistakes);
    size.map_or(0, |size: bytesize::ByteSize| size.as_u64())
}

/// A secret from its variable or its file, or `None` where neither is set. One line break at a file's end is not part
/// of it, since editors put one there.
pub(super) fn optional(
    name: &'static str,
    value: Option<&SecretString>,
    file: Option<&OsStr>,
    mistakes: &mut ConfigErrors,
) -> Option<SecretString> {
    let value = value.filter(|value| !value.expose_secret().is_empty());
    let file = file.filter(|file| !file.is_empty()).map(Path::new);
    match (value, file) {
        (Some(_), Some(_)) => {
            mistakes.note(name, format!("is set, and {name}_FILE as well: set one of them"));
            None
        }
        (Some(value), None) => Some(value.clone()),
        (None, Some(file)) => secret_file(name, file, mistakes),
        (None, None) => None,
    }
}

/// The secret in the file that `name`_FILE names.
pub(super) fn secret_file(name: &str, file: &Path, mistakes: &mut ConfigErrors) -> Option<SecretString> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            mistakes.note(format!("{name}_FILE"), format!("the file that it names cannot be read: {error}"));
            return None;
        }
    };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    // An empty file counts as not set, like an empty variable.
    given(Some(text)).map(SecretString::from)
}

/// A secret that has to be there. Where it is not, the mistake is noted and the value is empty.
pub(super) fn required(
    name: &'static str,
    value: Option<&SecretString>,
    file: Option<&OsStr>,
    mistakes: &mut ConfigErrors,
) -> SecretString {
    let mut own = ConfigErrors::default();
    let secret = optional(name, value, file, &mut own);
    if secret.is_none() && own.is_empty() {
        own.note(name, format!("is required: set it, or {name}_FILE"));
    }
    mistakes.0.extend(own.0);
    secret.unwrap_or_default()
}

/// The parts of a comma-separated secret, with nothing stripped.
pub(super) fn secrets(name: &'static str, list: &SecretString, mistakes: &mut ConfigErrors) -> Vec<SecretString> {
    let list = list.expose_secret();
    if list.is_empty() {
        return Vec::new();
    }
    if list.split(',').any(str::is_empty) {
        mistakes.note(name, "has an empty entry between its commas");
    }
    list.split(',').map(SecretString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_file(text: &str) -> (Option<String>, ConfigErrors) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut mistakes = ConfigErrors::default();
        let secret = optional("NAME", None, Some(file.path().as_os_str()), &mut mistakes);
        (secret.map(|secret| secret.expose_secret().to_owned()), mistakes)
    }

    #[test]
    fn one_line_break_at_the_end_of_a_secret_file_is_not_part_of_it() {
        for (text, expected) in [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), (" s ", " s ")] {
            assert_eq!(read_file(text), (Some(expected.to_owned()), ConfigErrors::default()), "{text:?}");
        }
        assert_eq!(read_file("\n"), (None, ConfigErrors::default()));
    }

    #[test]
    fn a_secret_set_twice_is_a_mistake_and_its_value_is_not_told() {
        let mut mistakes = ConfigErrors::default();
        let value = SecretString::from("hush");
        required("NAME", Some(&value), Some(OsStr::new("/nowhere")), &mut mistakes);
        let told = mistakes.to_string();
        assert!(told.contains("NAME_FILE as well") && !told.contains("hush"), "{told}");
    }

    #[test]
    fn secrets_are_split_at_commas_and_not_trimmed() {
        let mut mistakes = ConfigErrors::default();
        let list = secrets("NAME", &SecretString::from("a, b"), &mut mistakes);
        assert_eq!(list.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), ["a", " b"]);
        assert!(mistakes.is_empty());
        secrets("NAME", &SecretString::from("a,,b"), &mut mistakes);
        assert!(!mistakes.is_empty());
    }

    #[test]
    fn lengths_of_time_and_sizes_read_as_people_write_them() {
        let mut mistakes = ConfigErrors::default();
        assert_eq!(duration("N", "5m", &mut mistakes), Some(Duration::from_mins(5)));
        assert_eq!(duration("N", "30d", &mut mistakes), Some(Duration::from_hours(720)));
        assert_eq!(bytes("N", "1MiB", &mut mistakes), 1 << 20);
        assert_eq!(bytes("N", "20GiB", &mut mistakes), 20 << 30);
        assert!(mistakes.is_empty());
        duration("A", "soon", &mut mistakes);
        bytes("B", "much", &mut mistakes);
        assert_eq!(mistakes.0.len(), 2);
    }
}
