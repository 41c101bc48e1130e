//! The settings for downloads.

use std::time::Duration;

use clap::Args;

use super::errors::ConfigErrors;
use super::parse::{SettingWithDefault, non_empty};
use crate::archive::{Guard, HostSuffix};

const CONCURRENCY: SettingWithDefault = SettingWithDefault::new("DOWNLOAD_CONCURRENCY", "8");
const ALLOWED_HOSTS: &str = "DOWNLOAD_ALLOWED_HOSTS";
const ALLOW_PRIVATE: SettingWithDefault = SettingWithDefault::new("DOWNLOAD_ALLOW_PRIVATE", "false");
const MAX_BYTES: SettingWithDefault = SettingWithDefault::new("DOWNLOAD_MAX_BYTES", "20GiB");
const MAX_ATTEMPTS: SettingWithDefault = SettingWithDefault::new("DOWNLOAD_MAX_ATTEMPTS", "20");
const LEASE: SettingWithDefault = SettingWithDefault::new("DOWNLOAD_LEASE", "60s");

const MIN_LEASE: Duration = Duration::from_secs(1);
const MAX_LEASE: Duration = Duration::from_hours(1);

/// The flags for downloads.
#[derive(Debug, Clone, Args)]
pub(super) struct DownloadArgs {
    /// The maximum number of concurrent transfers in this process; 0 disables downloading
    #[arg(long = "download-concurrency", env = CONCURRENCY.name, value_name = "COUNT", default_value = CONCURRENCY.default)]
    concurrency: String,
    /// Host suffixes that files may come from, comma-separated (default: any public host)
    #[arg(long = "download-allowed-hosts", env = ALLOWED_HOSTS, value_name = "HOSTS")]
    allowed_hosts: Option<String>,
    /// Allows http, and private and loopback addresses: for development and tests only
    #[arg(long = "download-allow-private", env = ALLOW_PRIVATE.name, value_name = "BOOL", default_value = ALLOW_PRIVATE.default, num_args = 0..=1, default_missing_value = "true")]
    allow_private: String,
    /// The maximum size of a file; a larger one fails
    #[arg(long = "download-max-bytes", env = MAX_BYTES.name, value_name = "SIZE", default_value = MAX_BYTES.default)]
    max_bytes: String,
    /// The number of attempts before a download fails
    #[arg(long = "download-max-attempts", env = MAX_ATTEMPTS.name, value_name = "COUNT", default_value = MAX_ATTEMPTS.default)]
    max_attempts: String,
    /// How long a worker's lease on a download lasts unless it is renewed
    #[arg(long = "download-lease", env = LEASE.name, value_name = "TIME", default_value = LEASE.default)]
    lease: String,
}

/// The settings for downloads.
#[derive(Debug, Clone)]
pub struct Downloads {
    /// Transfers at once in this process.
    pub concurrency: usize,
    /// Which URLs files may come from.
    pub guard: Guard,
    /// The maximum size of a file.
    pub max_bytes: u64,
    /// The number of attempts before a download fails.
    pub max_attempts: u32,
    /// How long a lease lasts unless it is renewed.
    pub lease: Duration,
}

impl DownloadArgs {
    pub(super) fn read(&self, errors: &mut ConfigErrors) -> Downloads {
        let attempts = MAX_ATTEMPTS.count(&self.max_attempts, 1, errors);
        Downloads {
            concurrency: CONCURRENCY.count(&self.concurrency, 0, errors),
            guard: Guard::new(self.allowed_host_suffixes(errors), ALLOW_PRIVATE.flag(&self.allow_private, errors)),
            max_bytes: MAX_BYTES.bytes(&self.max_bytes, errors),
            max_attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            lease: self.lease_duration(errors),
        }
    }

    fn lease_duration(&self, errors: &mut ConfigErrors) -> Duration {
        let lease = LEASE.duration(&self.lease, errors);
        if lease.is_some_and(|lease| !(MIN_LEASE..=MAX_LEASE).contains(&lease)) {
            errors.add(LEASE.name, "must be from 1s to 1h");
        }
        lease.unwrap_or_default()
    }

    /// The allowed host suffixes; an empty list allows every public host. A value that is set but contains no host, such as
    /// `"$A,$B"` with both unset, is an error, because it must not allow every host.
    fn allowed_host_suffixes(&self, errors: &mut ConfigErrors) -> Vec<HostSuffix> {
        let Some(list) = non_empty(self.allowed_hosts.as_deref()) else { return Vec::new() };
        let entries: Vec<_> = list.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
        if entries.is_empty() {
            errors.add(ALLOWED_HOSTS, "is set but contains no host: add one, or unset it to allow every public host");
        }
        let mut hosts = Vec::new();
        for (host, number) in entries.iter().zip(1..) {
            match host.parse() {
                Ok(host) => hosts.push(host),
                // The entry is not shown, because it may be a URL with credentials.
                Err(error) => errors.add(ALLOWED_HOSTS, format!("entry {number}: {error}")),
            }
        }
        hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeArgs;

    fn errors(hosts: &str) -> String {
        let args = ServeArgs::from_flags([format!("--download-allowed-hosts={hosts}")]).unwrap();
        let mut errors = ConfigErrors::default();
        args.downloads().allowed_host_suffixes(&mut errors);
        if errors.is_empty() { String::new() } else { errors.to_string() }
    }

    #[test]
    fn a_list_without_any_host_is_an_error() {
        for hosts in ["", "magichour.ai", "a.example, b.example", "a.example,"] {
            assert_eq!(errors(hosts), "", "{hosts:?}");
        }
        for hosts in [",", " , ", " "] {
            assert!(errors(hosts).contains("contains no host"), "{hosts:?}");
        }
        let wrong = errors("a.example,https://u:hush@h/");
        assert!(wrong.contains("entry 2") && !wrong.contains("hush"), "{wrong}");
    }
}
