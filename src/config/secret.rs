//! Reads secrets from a variable or a file.

use std::ffi::OsStr;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::errors::ConfigErrors;
use super::parse::non_empty;

/// The source of a secret: the variable `NAME`, or the file named by `NAME_FILE`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SecretSource<'a> {
    name: &'static str,
    value: Option<&'a SecretString>,
    file: Option<&'a Path>,
}

impl<'a> SecretSource<'a> {
    /// An empty variable counts as not set.
    pub(super) fn new(name: &'static str, value: Option<&'a SecretString>, file: Option<&'a OsStr>) -> Self {
        let value = value.filter(|value| !value.expose_secret().is_empty());
        let file = file.filter(|file| !file.is_empty()).map(Path::new);
        Self { name, value, file }
    }

    /// The secret, or `None` if neither the variable nor a nonempty file is set.
    pub(super) fn optional(self, errors: &mut ConfigErrors) -> Option<SecretString> {
        match (self.value, self.file) {
            (Some(_), Some(_)) => {
                errors.add(self.name, format!("is set, and so is {}_FILE: set one of them", self.name));
                None
            }
            (Some(value), None) => Some(value.clone()),
            (None, Some(file)) => read_file(self.name, file, errors),
            (None, None) => None,
        }
    }

    /// A required secret. If it is missing, an error is added and the returned value is empty.
    pub(super) fn required(self, errors: &mut ConfigErrors) -> SecretString {
        let mut own = ConfigErrors::default();
        let secret = self.optional(&mut own);
        if secret.is_none() && own.is_empty() {
            match self.file {
                Some(_) => own.add(format!("{}_FILE", self.name), "names an empty file"),
                None => own.add(self.name, format!("is required: set it, or {}_FILE", self.name)),
            }
        }
        errors.extend(own);
        secret.unwrap_or_default()
    }
}

/// The secret in `file`, or `None` if the file is empty. A single line break at the end is removed, because editors add
/// one.
pub(super) fn read_file(name: &str, file: &Path, errors: &mut ConfigErrors) -> Option<SecretString> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            errors.add(format!("{name}_FILE"), format!("cannot read the file: {error}"));
            return None;
        }
    };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    non_empty(Some(text)).map(SecretString::from)
}

/// Splits a comma-separated list of secrets. Only spaces next to a comma are removed; everything else is part of the
/// secrets.
pub(super) fn split(name: &'static str, list: &SecretString, errors: &mut ConfigErrors) -> Vec<SecretString> {
    let list = list.expose_secret();
    if list.is_empty() {
        return Vec::new();
    }
    let end = list.split(',').count() - 1;
    let trimmed = |(at, part): (usize, &'_ str)| {
        let part = if at > 0 { part.trim_start() } else { part };
        SecretString::from(if at < end { part.trim_end() } else { part })
    };
    let parts: Vec<_> = list.split(',').enumerate().map(trimmed).collect();
    if parts.iter().any(|part| part.expose_secret().trim().is_empty()) {
        errors.add(name, "has an empty entry next to a comma");
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_single_line_break_at_the_end_of_a_secret_file_is_removed() {
        for (text, expected) in [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), (" s ", " s ")] {
            let (file, mut errors) = (file(text), ConfigErrors::default());
            let secret = SecretSource::new("NAME", None, Some(file.path().as_os_str())).optional(&mut errors);
            assert_eq!(secret.map(|secret| secret.expose_secret().to_owned()).as_deref(), Some(expected), "{text:?}");
            assert!(errors.is_empty());
        }
    }

    #[test]
    fn an_empty_file_is_no_secret_and_an_error_if_the_secret_is_required() {
        for text in ["", "\n"] {
            let (file, mut errors) = (file(text), ConfigErrors::default());
            let source = SecretSource::new("NAME", None, Some(file.path().as_os_str()));
            assert!(source.optional(&mut errors).is_none() && errors.is_empty());
            source.required(&mut errors);
            assert!(errors.to_string().contains("NAME_FILE: names an empty file"), "{errors}");
        }
    }

    #[test]
    fn setting_a_secret_twice_is_an_error_that_does_not_show_it() {
        let mut errors = ConfigErrors::default();
        let value = SecretString::from("hush");
        SecretSource::new("NAME", Some(&value), Some(OsStr::new("/nowhere"))).required(&mut errors);
        let text = errors.to_string();
        assert!(text.contains("so is NAME_FILE") && !text.contains("hush"), "{text}");
    }

    #[test]
    fn only_spaces_next_to_a_comma_are_removed() {
        for (list, expected) in [
            ("a, b", vec!["a", "b"]),
            ("a ,\tb\n,c", vec!["a", "b", "c"]),
            (" a b ", vec![" a b "]),
            (" a , b ", vec![" a", "b "]),
        ] {
            let mut errors = ConfigErrors::default();
            let parts = split("NAME", &SecretString::from(list), &mut errors);
            assert_eq!(parts.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), expected);
            assert!(errors.is_empty(), "{list:?}");
        }
        for list in ["a,,b", "a,", ",a", "a, ,b", ","] {
            let mut errors = ConfigErrors::default();
            split("NAME", &SecretString::from(list), &mut errors);
            assert!(!errors.is_empty(), "{list:?}");
        }
    }
}
