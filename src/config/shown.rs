//! The settings of `serve` as they may be shown: no secret among them.

use std::ffi::OsStr;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};
use url::Url;

use super::ServeArgs;

/// A setting and what it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the environment.
    pub name: String,
    /// Its value in one line, or for a secret whether it is set.
    pub value: String,
}

/// Every setting of `serve`, in the order of `--help`, as `matches` has it. A secret's `NAME_FILE` counts as `NAME`.
#[must_use]
pub fn shown(matches: &ArgMatches) -> Vec<Setting> {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let settings = command.get_arguments().filter_map(|flag| {
        let name = flag.get_env()?.to_str()?;
        let value = if flag.is_hide_env_values_set() {
            let file = format!("{name}_FILE");
            let file = command.get_arguments().find(|flag| flag.get_env() == Some(OsStr::new(&file)));
            let from_file = file.is_some_and(|file| given(file, matches).is_some());
            let set = if from_file { "set, from a file" } else { "set" };
            if from_file || given(flag, matches).is_some() { set.to_owned() } else { "not set".to_owned() }
        } else {
            plain(flag, matches)
        };
        let of_a_secret = name.strip_suffix("_FILE").is_some();
        (!of_a_secret).then(|| Setting { name: name.to_owned(), value })
    });
    settings.collect()
}

/// What a person has set, as text. An empty value counts as not set.
fn given(flag: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = flag.get_id().as_str();
    let set = matches.value_source(id).is_some_and(|source| source != ValueSource::DefaultValue);
    let text = matches.get_raw(id)?.next_back()?.to_string_lossy().into_owned();
    (set && !text.is_empty()).then_some(text)
}

fn plain(flag: &Arg, matches: &ArgMatches) -> String {
    match (given(flag, matches), flag.get_default_values().first()) {
        (Some(value), _) => in_a_line(&without_credentials(&value)),
        (None, Some(default)) => format!("{} (default)", default.to_string_lossy()),
        (None, None) => "not set".to_owned(),
    }
}

/// A URL without its user and query, where it has them; any other text as it is.
fn without_credentials(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return text.to_owned() };
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if bare {
        return text.to_owned();
    }
    url.set_query(None);
    // OK where there is no host to have a user.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.into()
}

fn in_a_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_shown_with_its_value_and_a_secret_is_not() {
        let command = ServeArgs::augment_args(Command::new("serve").no_binary_name(true));
        let matches = command.mut_args(|flag| flag.env(None)).get_matches_from([
            "--database-url=postgres://u:hush@h/d",
            "--api-tokens-file=/run/tokens",
            "--storage-url=s3://hush:hush@bucket/prefix?hush=hush",
            "--download-allowed-hosts=a,\nb",
            "--max-body-bytes=2MiB",
            "--magic-hour-api-key=",
        ]);
        let settings = shown(&matches);
        assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
        for (name, expected) in [
            ("DATABASE_URL", "set"),
            ("MAGIC_HOUR_WEBHOOK_SECRET", "not set"),
            ("STORAGE_URL", "s3://bucket/prefix"),
            ("API_TOKENS", "set, from a file"),
            ("LISTEN_ADDR", "not set"),
            ("SIGNATURE_TOLERANCE", "5m (default)"),
            ("MAX_BODY_BYTES", "2MiB"),
            ("DOWNLOAD_ALLOWED_HOSTS", "a, b"),
            ("MAGIC_HOUR_API_KEY", "not set"),
        ] {
            let setting = settings.iter().find(|setting| setting.name == name);
            assert_eq!(setting.map(|setting| setting.value.as_str()), Some(expected), "{name}");
        }
        assert!(settings.iter().all(|setting| !setting.name.ends_with("_FILE")));
    }
}
