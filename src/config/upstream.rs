//! The settings for Magic Hour's API.

use std::collections::HashSet;
use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use url::Url;

use super::errors::ConfigErrors;
use super::parse::SettingWithDefault;
use super::secret::{self, SecretSource};
use crate::upstream::{AccountId, Accounts, Schedule};

const API_KEY: &str = "MAGIC_HOUR_API_KEY";
const API_URL: SettingWithDefault = SettingWithDefault::new("MAGIC_HOUR_API_URL", "https://api.magichour.ai");
const AFTER: SettingWithDefault = SettingWithDefault::new("RECONCILE_AFTER", "5m");
const MAX_INTERVAL: SettingWithDefault = SettingWithDefault::new("RECONCILE_MAX_INTERVAL", "1h");
const RATE: SettingWithDefault = SettingWithDefault::new("RECONCILE_RATE", "5");
const DELETE_AFTER_STORE: SettingWithDefault = SettingWithDefault::new("DELETE_AFTER_STORE", "false");

const MIN_SILENCE: Duration = Duration::from_secs(1);
const MAX_SILENCE: Duration = Duration::from_hours(24);

/// The flags for Magic Hour's API.
#[derive(Debug, Clone, Args)]
pub(super) struct UpstreamArgs {
    /// The keys of Magic Hour's API, one per account, comma-separated: needed to poll renders, which finds what no webhook reports, and to get fresh URLs
    #[arg(long, env = API_KEY, value_name = "KEYS", hide_env_values = true)]
    magic_hour_api_key: Option<SecretString>,
    /// A file with `MAGIC_HOUR_API_KEY`
    #[arg(long, env = "MAGIC_HOUR_API_KEY_FILE", value_name = "PATH")]
    magic_hour_api_key_file: Option<OsString>,
    /// The URL of Magic Hour's API; may have a path
    #[arg(long, env = API_URL.name, value_name = "URL", default_value = API_URL.default, hide_env_values = true)]
    magic_hour_api_url: String,
    /// How long to wait after the last webhook of an unfinished render before polling it
    #[arg(long, env = AFTER.name, value_name = "TIME", default_value = AFTER.default)]
    reconcile_after: String,
    /// The maximum interval between two polls of an unfinished render
    #[arg(long, env = MAX_INTERVAL.name, value_name = "TIME", default_value = MAX_INTERVAL.default)]
    reconcile_max_interval: String,
    /// The maximum number of polls per second, for all renders and replicas together
    #[arg(long, env = RATE.name, value_name = "NUMBER", default_value = RATE.default)]
    reconcile_rate: String,
    /// Deletes a project at Magic Hour once all its files are stored and verified; needs the API key and cannot be undone
    #[arg(long, env = DELETE_AFTER_STORE.name, value_name = "BOOL", default_value = DELETE_AFTER_STORE.default, num_args = 0..=1, default_missing_value = "true")]
    delete_after_store: String,
}

/// The settings for Magic Hour's API.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The accounts, if there is a key.
    pub accounts: Option<Accounts>,
    /// When renders are polled.
    pub schedule: Schedule,
    /// The minimum interval between two polls, for all renders and replicas together.
    pub poll_interval: Duration,
    /// Whether projects are deleted once their files are stored.
    pub delete_after_store: bool,
}

impl UpstreamArgs {
    pub(super) fn read(&self, errors: &mut ConfigErrors) -> Upstream {
        let accounts = self.accounts(errors);
        let delete_after_store = DELETE_AFTER_STORE.flag(&self.delete_after_store, errors);
        if delete_after_store && accounts.is_none() {
            errors.add(DELETE_AFTER_STORE.name, format!("needs {API_KEY}"));
        }
        Upstream {
            accounts,
            schedule: self.schedule(errors),
            poll_interval: self.poll_interval(errors),
            delete_after_store,
        }
    }

    fn accounts(&self, errors: &mut ConfigErrors) -> Option<Accounts> {
        let (url, keys) = (self.api_url(errors), self.api_keys(errors));
        if keys.is_empty() {
            return None;
        }
        Accounts::new(&url?, &keys)
            .map_err(|_| errors.add(API_URL.name, "cannot create an HTTPS client on this machine"))
            .ok()
    }

    pub(super) fn api_url(&self, errors: &mut ConfigErrors) -> Option<Url> {
        let expected = format!("a URL such as {}", API_URL.default);
        let url: Url = API_URL.parse(&self.magic_hour_api_url, &expected, errors)?;
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let usable = matches!(url.scheme(), "http" | "https") && bare;
        if !usable {
            errors.add(API_URL.name, "must be an http or https URL without a user, password, or query");
        }
        usable.then_some(url)
    }

    /// The keys, in order.
    pub(super) fn api_keys(&self, errors: &mut ConfigErrors) -> Vec<SecretString> {
        let file = self.magic_hour_api_key_file.as_deref();
        let list = SecretSource::new(API_KEY, self.magic_hour_api_key.as_ref(), file).optional(errors);
        let keys = list.map(|list| secret::split(API_KEY, &list, errors)).unwrap_or_default();
        let accounts: HashSet<_> = keys.iter().map(AccountId::of).collect();
        if accounts.len() < keys.len() {
            errors.add(API_KEY, "has the same key twice");
        }
        keys
    }

    fn schedule(&self, errors: &mut ConfigErrors) -> Schedule {
        let schedule = Schedule {
            initial_delay: AFTER.duration(&self.reconcile_after, errors).unwrap_or(MIN_SILENCE),
            max_interval: MAX_INTERVAL.duration(&self.reconcile_max_interval, errors).unwrap_or(MAX_SILENCE),
        };
        if !(MIN_SILENCE..=MAX_SILENCE).contains(&schedule.initial_delay) {
            errors.add(AFTER.name, "must be from 1s to 24h");
        }
        if schedule.max_interval < schedule.initial_delay || schedule.max_interval > MAX_SILENCE {
            errors.add(MAX_INTERVAL.name, format!("must be at least {} and at most 24h", AFTER.name));
        }
        schedule
    }

    fn poll_interval(&self, errors: &mut ConfigErrors) -> Duration {
        const EXPECTED: &str = "a number of polls per second from 0.01 to 1000, such as 5";
        let rate: Option<f64> = RATE.parse(&self.reconcile_rate, EXPECTED, errors);
        if rate.is_some_and(|rate| !(0.01..=1000.0).contains(&rate)) {
            errors.add(RATE.name, format!("must be {EXPECTED}"));
            return Duration::default();
        }
        Duration::from_secs(1).div_f64(rate.unwrap_or(1.0))
    }
}
