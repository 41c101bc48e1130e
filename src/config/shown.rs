//! The settings of `serve` for display, without secrets.

use std::ffi::OsStr;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::ServeArgs;
use super::errors::ConfigErrors;
use super::secret;
use crate::http;

/// A setting and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSetting {
    /// The name of its environment variable.
    pub name: String,
    /// Its value on one line. For a secret, whether it is set.
    pub value: String,
}

/// All settings of `serve`, in the order of `--help`, with their values from `matches`. `NAME_FILE` is shown as `NAME`.
#[must_use]
pub fn shown(matches: &ArgMatches) -> Vec<ShownSetting> {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let settings = command.get_arguments().filter_map(|flag| {
        let name = flag.get_env()?.to_str()?;
        let is_file = name.strip_suffix("_FILE").is_some();
        // Every setting that has a `_FILE` variant is a secret.
        let file_name = format!("{name}_FILE");
        let file = command.get_arguments().find(|flag| flag.get_env() == Some(OsStr::new(&file_name)));
        let value = match file {
            Some(file) => secret_value(name, flag, file, matches),
            None => plain(flag, matches),
        };
        (!is_file).then(|| ShownSetting { name: name.to_owned(), value })
    });
    settings.collect()
}

/// Whether a secret is set, whether it comes from a file, and how many values it has.
fn secret_value(name: &str, flag: &Arg, file: &Arg, matches: &ArgMatches) -> String {
    let (value, origin) = match (set_value(flag, matches), set_value(file, matches)) {
        (Some(value), _) => (Some(SecretString::from(value)), ""),
        // If the file cannot be read, that is reported as an error elsewhere.
        (None, Some(file)) => match secret::read_file(name, Path::new(&file), &mut ConfigErrors::default()) {
            None => return format!("not set: the file in {name}_FILE is empty"),
            value => (value, ", from a file"),
        },
        (None, None) => (None, ""),
    };
    match value.map(|value| value.expose_secret().split(',').count()) {
        None => "not set".to_owned(),
        Some(1) => format!("set{origin}"),
        Some(count) => format!("set{origin}, {count} values"),
    }
}

/// The text that was set. An empty text counts as not set.
fn set_value(flag: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = flag.get_id().as_str();
    let set = matches.value_source(id).is_some_and(|source| source != ValueSource::DefaultValue);
    let text = matches.get_raw(id)?.next_back()?.to_string_lossy().into_owned();
    (set && !text.is_empty()).then_some(text)
}

fn plain(flag: &Arg, matches: &ArgMatches) -> String {
    match (set_value(flag, matches), flag.get_default_values().first()) {
        (Some(value), _) => in_a_line(&without_credentials(&value)),
        (None, Some(default)) => format!("{} (default)", default.to_string_lossy()),
        (None, None) => "not set".to_owned(),
    }
}

/// Removes credentials if `text` is a URL.
fn without_credentials(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if http::without_credentials(&url) != url => http::without_credentials(&url).into(),
        // It may still contain a password.
        Err(_) if text.contains("://") => "set, but not a valid URL".to_owned(),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

fn in_a_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_with_their_values_but_secrets_are_not() {
        let file = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            file
        };
        let (tokens, empty) = (file("hush\n"), file("\n"));
        let command = ServeArgs::augment_args(Command::new("serve").no_binary_name(true));
        let matches = command.mut_args(|flag| flag.env(None)).get_matches_from([
            "--database-url=postgres://u:hush@h/d",
            "--magic-hour-webhook-secret=hush, hush",
            &format!("--api-tokens-file={}", tokens.path().display()),
            "--storage-url=s3://hush:hush@bucket/prefix?hush=hush",
            "--download-allowed-hosts=a,\nb",
            "--max-body-bytes=2MiB",
            "--magic-hour-api-key=",
            &format!("--magic-hour-api-key-file={}", empty.path().display()),
        ]);
        let settings = shown(&matches);
        assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
        for (name, expected) in [
            ("DATABASE_URL", "set"),
            ("MAGIC_HOUR_WEBHOOK_SECRET", "set, 2 values"),
            ("STORAGE_URL", "s3://bucket/prefix"),
            ("API_TOKENS", "set, from a file"),
            ("LISTEN_ADDR", "not set"),
            ("SIGNATURE_TOLERANCE", "5m (default)"),
            ("MAX_BODY_BYTES", "2MiB"),
            ("DOWNLOAD_ALLOWED_HOSTS", "a, b"),
            ("MAGIC_HOUR_API_KEY", "not set: the file in MAGIC_HOUR_API_KEY_FILE is empty"),
        ] {
            let setting = settings.iter().find(|setting| setting.name == name);
            assert_eq!(setting.map(|setting| setting.value.as_str()), Some(expected), "{name}");
        }
        assert!(settings.iter().all(|setting| !setting.name.ends_with("_FILE")));
    }
}
