//! Whether the store works, as the log says it: once when it begins to fail, and once when it works again.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{error, info};

use super::StoreError;
use crate::runtime::LogEvent;

/// Whether the last transfer's requests to the store failed. Each attempt that fails has a line of its own.
#[derive(Debug, Default)]
pub struct StoreHealth {
    is_failing: AtomicBool,
}

impl StoreHealth {
    /// A request failed.
    pub(in crate::archive) fn failed(&self, error: &StoreError) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            error!(
                event = %LogEvent::StoreFailed, error = %error,
                "the store fails: check STORAGE_URL and its credentials; downloads are tried again"
            );
        }
    }

    /// A file was stored.
    pub(in crate::archive) fn works(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            info!(event = %LogEvent::StoreRestored, "the store works again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{CapturedLog, LogFormat};

    #[test]
    fn an_outage_of_the_store_is_one_line_and_its_end_another() {
        let (lines, _guard) = CapturedLog::start(LogFormat::Json, false, "info");
        let (health, error) = (StoreHealth::default(), StoreError::Folder(std::io::ErrorKind::StorageFull.into()));
        health.works();
        health.failed(&error);
        health.failed(&error);
        health.works();
        health.works();
        let events: Vec<_> = lines.take_lines().iter().map(|line| line["event"].clone()).collect();
        assert_eq!(events, ["store.failed", "store.restored"]);
    }
}
