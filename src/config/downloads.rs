//! The settings of the downloader: how many files at once, from where, how large, how often.

use std::time::Duration;

use clap::Args;

use super::errors::ConfigErrors;
use super::parse::{Defaulted, given};
use crate::archive::{Guard, HostSuffix};

const CONCURRENCY: Defaulted = Defaulted::new("DOWNLOAD_CONCURRENCY", "8");
const ALLOWED_HOSTS: &str = "DOWNLOAD_ALLOWED_HOSTS";
const ALLOW_PRIVATE: Defaulted = Defaulted::new("DOWNLOAD_ALLOW_PRIVATE", "false");
const MAX_BYTES: Defaulted = Defaulted::new("DOWNLOAD_MAX_BYTES", "20GiB");
const MAX_ATTEMPTS: Defaulted = Defaulted::new("DOWNLOAD_MAX_ATTEMPTS", "20");
const LEASE: Defaulted = Defaulted::new("DOWNLOAD_LEASE", "60s");

const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_hours(1);

/// The flags for downloads.
#[derive(Debug, Clone, Args)]
pub(super) struct DownloadArgs {
    /// Transfers at once in this process; 0 downloads nothing
    #[arg(long = "download-concurrency", env = CONCURRENCY.name, value_name = "COUNT", default_value = CONCURRENCY.default)]
    concurrency: String,
    /// Host suffixes that files may come from, comma-separated (default: any public host)
    #[arg(long = "download-allowed-hosts", env = ALLOWED_HOSTS, value_name = "HOSTS")]
    allowed_hosts: Option<String>,
    /// Allows http and private or loopback addresses: for development and tests only
    #[arg(long = "download-allow-private", env = ALLOW_PRIVATE.name, value_name = "BOOL", default_value = ALLOW_PRIVATE.default, num_args = 0..=1, default_missing_value = "true")]
    allow_private: String,
    /// The largest file; a larger one fails
    #[arg(long = "download-max-bytes", env = MAX_BYTES.name, value_name = "SIZE", default_value = MAX_BYTES.default)]
    max_bytes: String,
    /// Attempts at a file before it has failed
    #[arg(long = "download-max-attempts", env = MAX_ATTEMPTS.name, value_name = "COUNT", default_value = MAX_ATTEMPTS.default)]
    max_attempts: String,
    /// How long a worker's claim to a download lasts unless it is renewed
    #[arg(long = "download-lease", env = LEASE.name, value_name = "TIME", default_value = LEASE.default)]
    lease: String,
}

/// The settings of the downloader.
#[derive(Debug, Clone)]
pub struct Downloads {
    /// Transfers at once in this process.
    pub concurrency: usize,
    /// Where files may come from.
    pub guard: Guard,
    /// The largest file.
    pub max_bytes: u64,
    /// Attempts at a file before it has failed.
    pub max_attempts: u32,
    /// How long a claim lasts unless it is renewed.
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
        if lease.is_some_and(|lease| !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease)) {
            errors.add(LEASE.name, "must be from 1s to 1h: it is renewed at a third of it");
        }
        lease.unwrap_or_default()
    }

    /// The host suffixes; none allows every public host. A value that is set and names no host, such as `"$A,$B"` with
    /// both unset, is an error: it must not allow every host.
    fn allowed_host_suffixes(&self, errors: &mut ConfigErrors) -> Vec<HostSuffix> {
        let Some(list) = given(self.allowed_hosts.as_deref()) else { return Vec::new() };
        let entries: Vec<_> = list.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
        if entries.is_empty() {
            errors.add(ALLOWED_HOSTS, "is set but names no host: name one, or unset it to allow every public host");
        }
        let mut hosts = Vec::new();
        for (host, number) in entries.iter().zip(1..) {
            match host.parse() {
                Ok(host) => hosts.push(host),
                // The entry is not shown: it may be a whole URL with credentials.
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
    fn hosts_that_are_set_and_name_no_host_are_an_error() {
        for hosts in ["", "magichour.ai", "a.example, b.example", "a.example,"] {
            assert_eq!(errors(hosts), "", "{hosts:?}");
        }
        for hosts in [",", " , ", " "] {
            assert!(errors(hosts).contains("names no host"), "{hosts:?}");
        }
        let wrong = errors("a.example,https://u:hush@h/");
        assert!(wrong.contains("entry 2") && !wrong.contains("hush"), "{wrong}");
    }
}
