//! The settings for notifications.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use url::Url;

use super::errors::ConfigErrors;
use super::parse::{SettingWithDefault, non_empty, parse};
use super::secret::{self, SecretSource};
use crate::domain::NotificationType;
use crate::feed::PostedTypes;
use crate::notify::{Client, SigningKeys};

const URL: &str = "NOTIFY_URL";
const SECRET: &str = "NOTIFY_SECRET";
const EVENTS: SettingWithDefault =
    SettingWithDefault::new("NOTIFY_EVENTS", "render.ready,render.incomplete,render.failed,render.canceled");
const TIMEOUT: SettingWithDefault = SettingWithDefault::new("NOTIFY_TIMEOUT", "15s");
const MAX_AGE: SettingWithDefault = SettingWithDefault::new("NOTIFY_MAX_AGE", "3d");

const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(2);
const MAX_AGES: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(30 * 24);

/// The flags for notifications.
#[derive(Debug, Clone, Args)]
pub struct NotifyArgs {
    /// Where notifications are posted (default: nowhere)
    #[arg(long = "notify-url", env = URL, value_name = "URL", hide_env_values = true)]
    url: Option<String>,
    /// The secrets that sign notifications, comma-separated: `whsec_` and 24 to 64 bytes in base64; required with `NOTIFY_URL`
    #[arg(long = "notify-secret", env = SECRET, value_name = "SECRETS", hide_env_values = true)]
    secret: Option<SecretString>,
    /// A file with `NOTIFY_SECRET`
    #[arg(long = "notify-secret-file", env = "NOTIFY_SECRET_FILE", value_name = "PATH")]
    secret_file: Option<OsString>,
    /// The types of notifications to post, comma-separated
    #[arg(long = "notify-events", env = EVENTS.name, value_name = "TYPES", default_value = EVENTS.default)]
    events: String,
    /// How long a request to `NOTIFY_URL` may take
    #[arg(long = "notify-timeout", env = TIMEOUT.name, value_name = "TIME", default_value = TIMEOUT.default)]
    timeout: String,
    /// How long a notification is posted again before it has failed
    #[arg(long = "notify-max-age", env = MAX_AGE.name, value_name = "TIME", default_value = MAX_AGE.default)]
    max_age: String,
}

/// The settings for notifications.
#[derive(Debug, Clone)]
pub struct Notify {
    /// Posts to `NOTIFY_URL`, if that is set.
    pub client: Option<Client>,
    /// The types that are posted. None without a URL.
    pub posted: PostedTypes,
    /// After this time a notification has failed.
    pub max_age: Duration,
}

impl NotifyArgs {
    pub(crate) fn read(&self, errors: &mut ConfigErrors) -> Notify {
        let posted = self.types(errors);
        let timeout = within(TIMEOUT, &self.timeout, &TIMEOUTS, "from 100ms to 2m", errors);
        let max_age = within(MAX_AGE, &self.max_age, &MAX_AGES, "from 1m to 30d", errors);
        let client = self.client(timeout, errors);
        let posted = if client.is_some() { posted } else { PostedTypes::default() };
        Notify { client, posted, max_age }
    }

    fn client(&self, timeout: Duration, errors: &mut ConfigErrors) -> Option<Client> {
        let source = SecretSource::new(SECRET, self.secret.as_ref(), self.secret_file.as_deref());
        let secrets = source.optional(errors).map(|secrets| secret::split(SECRET, &secrets, errors));
        let keys = secrets.and_then(|secrets| {
            SigningKeys::parse(&secrets).map_err(|error| errors.add(SECRET, error.to_string())).ok()
        });
        let url = self.url(errors)?;
        let Some(keys) = keys else {
            if self.secret.is_none() && self.secret_file.is_none() {
                errors.add(SECRET, format!("is required with {URL}: whsec_ and 24 to 64 random bytes in base64"));
            }
            return None;
        };
        Client::new(url, keys, timeout)
            .map_err(|_| errors.add(URL, "cannot create an HTTPS client on this machine"))
            .ok()
    }

    fn url(&self, errors: &mut ConfigErrors) -> Option<Url> {
        let text = non_empty(self.url.as_deref())?;
        let url: Url = parse(URL, text, "a URL such as https://app.example/hooks/renders", errors)?;
        let is_valid =
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        if !is_valid {
            errors.add(URL, "must be an http or https URL without a user or password");
        }
        is_valid.then_some(url)
    }

    fn types(&self, errors: &mut ConfigErrors) -> PostedTypes {
        let list = non_empty(Some(&self.events)).unwrap_or(EVENTS.default);
        let known = |text: &str| text.trim().parse().ok().filter(|it: &NotificationType| it.can_be_posted());
        let types: Vec<_> = list.split(',').map(known).collect();
        if types.contains(&None) {
            let all = NotificationType::ALL.into_iter().filter(|it| it.can_be_posted()).map(NotificationType::as_str);
            errors
                .add(EVENTS.name, format!("must be a comma-separated list of {}", all.collect::<Vec<_>>().join(", ")));
        }
        types.into_iter().flatten().collect()
    }
}

/// A duration within a range. Returns the start of the range on an error.
fn within(
    setting: SettingWithDefault,
    text: &str,
    range: &std::ops::RangeInclusive<Duration>,
    expected: &str,
    errors: &mut ConfigErrors,
) -> Duration {
    let Some(duration) = setting.duration(text, errors) else { return *range.start() };
    if !range.contains(&duration) {
        errors.add(setting.name, format!("must be {expected}"));
        return *range.start();
    }
    duration
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::NotificationType::{Canceled, Failed, Incomplete, Moved, Ready};
    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        notify: NotifyArgs,
    }

    const KEY: &str = "--notify-secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const URL_FLAG: &str = "--notify-url=http://app.internal/hooks?token=hush";

    fn read(flags: &[&str]) -> Result<Notify, String> {
        let command = Flags::command().no_binary_name(true).mut_args(|flag| flag.env(None));
        let flags = Flags::from_arg_matches(&command.get_matches_from(flags)).unwrap();
        let mut errors = ConfigErrors::default();
        let notify = flags.notify.read(&mut errors);
        errors.into_result(notify).map_err(|errors| errors.to_string())
    }

    #[test]
    fn nothing_is_posted_without_a_url() {
        for flags in [&[][..], &[KEY], &["--notify-url="]] {
            let notify = read(flags).unwrap();
            assert!(notify.client.is_none() && notify.posted == PostedTypes::default(), "{flags:?}");
        }
    }

    #[test]
    fn all_types_but_moved_are_posted_unless_the_setting_names_others() {
        let posted = |flags: &[&str]| {
            let posted = read(&[&[KEY, URL_FLAG], flags].concat()).unwrap().posted;
            NotificationType::ALL.into_iter().filter(|it| posted.contains(*it)).collect::<Vec<_>>()
        };
        assert_eq!(posted(&[]), [Ready, Incomplete, Failed, Canceled]);
        assert_eq!(posted(&["--notify-events=render.moved, render.ready"]), [Ready, Moved]);
    }

    #[test]
    fn invalid_settings_are_reported_without_their_values() {
        for (flags, expected) in [
            (vec![URL_FLAG], "NOTIFY_SECRET: is required"),
            (vec![URL_FLAG, "--notify-secret=hush"], "NOTIFY_SECRET: must begin with whsec_"),
            (vec![URL_FLAG, KEY, "--notify-events=render.lost"], "NOTIFY_EVENTS: must be a comma-separated list"),
            (vec![URL_FLAG, KEY, "--notify-events=download.stored"], "NOTIFY_EVENTS: must be a comma-separated list"),
            (vec![URL_FLAG, KEY, "--notify-timeout=3m"], "NOTIFY_TIMEOUT: must be from 100ms to 2m"),
            (vec![URL_FLAG, KEY, "--notify-max-age=1s"], "NOTIFY_MAX_AGE: must be from 1m to 30d"),
            (vec!["--notify-url=ftp://hush", KEY], "NOTIFY_URL: must be an http or https URL"),
            (vec!["--notify-url=http://hush@app", KEY], "NOTIFY_URL: must be an http or https URL"),
            (vec!["--notify-url=hush", KEY], "NOTIFY_URL: must be a URL such as"),
        ] {
            let errors = read(&flags).unwrap_err();
            assert!(errors.contains(expected) && !errors.contains("hush"), "{flags:?}: {errors}");
        }
    }
}
