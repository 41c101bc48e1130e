//! The settings of Magic Hour's API: where it is, what is asked of it, and how often.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use url::Url;

use super::read::{self, ConfigErrors, or};
use crate::upstream::MagicHour;
use crate::upstream::Schedule;

const URL: &str = "MAGIC_HOUR_API_URL";
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_hours(24);

/// What is asked of Magic Hour, as clap reads it.
#[derive(Debug, Clone, Args)]
pub(super) struct ApiArgs {
    /// Magic Hour's API key: with it, what no webhook tells is asked for, and fresh URLs
    #[arg(long, env = "MAGIC_HOUR_API_KEY", value_name = "KEY", hide_env_values = true)]
    magic_hour_api_key: Option<SecretString>,
    /// A file that holds `MAGIC_HOUR_API_KEY`
    #[arg(long, env = "MAGIC_HOUR_API_KEY_FILE", value_name = "PATH")]
    magic_hour_api_key_file: Option<OsString>,
    /// Magic Hour's API; may carry a path
    #[arg(long, env = "MAGIC_HOUR_API_URL", value_name = "URL", default_value = "https://api.magichour.ai")]
    magic_hour_api_url: String,
    /// The silence about an unfinished render before Magic Hour is asked about it
    #[arg(long, env = "RECONCILE_AFTER", value_name = "TIME", default_value = "5m")]
    reconcile_after: String,
    /// The longest time between two questions about an unfinished render
    #[arg(long, env = "RECONCILE_MAX_INTERVAL", value_name = "TIME", default_value = "1h")]
    reconcile_max_interval: String,
    /// Questions a second at most, of all renders and processes together
    #[arg(long, env = "RECONCILE_RATE", value_name = "NUMBER", default_value = "5")]
    reconcile_rate: String,
    /// Deletes a project at Magic Hour once all its files are stored and proven; needs the key, cannot be undone
    #[arg(long, env = "DELETE_AFTER_STORE", value_name = "BOOL", default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    delete_after_store: String,
}

/// The same, finished.
pub(super) struct Api {
    /// The API, where there is a key.
    pub(super) magic_hour: Option<MagicHour>,
    /// When a render is asked for.
    pub(super) schedule: Schedule,
    /// The shortest time between two questions.
    pub(super) gap: Duration,
    /// Whether projects are deleted once their files are stored.
    pub(super) deletes: bool,
}

impl ApiArgs {
    pub(super) fn read(&self, mistakes: &mut ConfigErrors) -> Api {
        let magic_hour = self.magic_hour(mistakes);
        let deletes = or(&self.delete_after_store, "false");
        let deletes = read::parsed("DELETE_AFTER_STORE", deletes, "true or false", mistakes).unwrap_or(false);
        if deletes && magic_hour.is_none() {
            mistakes.note("DELETE_AFTER_STORE", "needs MAGIC_HOUR_API_KEY");
        }
        Api { magic_hour, schedule: self.schedule(mistakes), gap: self.gap(mistakes), deletes }
    }

    fn magic_hour(&self, mistakes: &mut ConfigErrors) -> Option<MagicHour> {
        let (url, key) = (self.url(mistakes), self.key(mistakes)?);
        let magic_hour = MagicHour::new(url?, key);
        magic_hour.map_err(|_| mistakes.note(URL, "no HTTPS client can be made on this machine")).ok()
    }

    /// Where it is.
    pub(super) fn url(&self, mistakes: &mut ConfigErrors) -> Option<Url> {
        let url = or(&self.magic_hour_api_url, "https://api.magichour.ai");
        let url: Url = read::parsed(URL, url, "a URL such as https://api.magichour.ai", mistakes)?;
        let usable = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.query().is_none();
        if !usable {
            mistakes.note(URL, "must be an http or https URL without a user and a query");
        }
        usable.then_some(url)
    }

    /// The key, where one is set.
    pub(super) fn key(&self, mistakes: &mut ConfigErrors) -> Option<SecretString> {
        let file = self.magic_hour_api_key_file.as_deref();
        read::optional("MAGIC_HOUR_API_KEY", self.magic_hour_api_key.as_ref(), file, mistakes)
    }

    fn schedule(&self, mistakes: &mut ConfigErrors) -> Schedule {
        let (after, longest) = ("RECONCILE_AFTER", "RECONCILE_MAX_INTERVAL");
        let schedule = Schedule {
            after: read::duration(after, or(&self.reconcile_after, "5m"), mistakes).unwrap_or(SHORTEST_SILENCE),
            longest: read::duration(longest, or(&self.reconcile_max_interval, "1h"), mistakes)
                .unwrap_or(LONGEST_SILENCE),
        };
        if !(SHORTEST_SILENCE..=LONGEST_SILENCE).contains(&schedule.after) {
            mistakes.note(after, "must be from 1s to 24h");
        }
        if schedule.longest < schedule.after || schedule.longest > LONGEST_SILENCE {
            mistakes.note(longest, "must be RECONCILE_AFTER at least, and 24h at most");
        }
        schedule
    }

    fn gap(&self, mistakes: &mut ConfigErrors) -> Duration {
        const NAME: &str = "RECONCILE_RATE";
        const EXPECTED: &str = "a number of questions a second from 0.01 to 1000, such as 5";
        let rate: Option<f64> = read::parsed(NAME, or(&self.reconcile_rate, "5"), EXPECTED, mistakes);
        if rate.is_some_and(|rate| !(0.01..=1000.0).contains(&rate)) {
            mistakes.note(NAME, format!("must be {EXPECTED}"));
            return Duration::default();
        }
        Duration::from_secs(1).div_f64(rate.unwrap_or(1.0))
    }
}
