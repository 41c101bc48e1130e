//! How far a transfer is, where people look: in the answers of the API and, for long transfers, in the log.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Downloader;
use crate::archive::queue::{ClaimedDownload, save_progress};
use crate::runtime::LogEvent;

/// How often the row is updated.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);
/// Every how many updates a line is logged: every 30 s.
const SAVES_PER_LINE: u32 = 6;

/// How far a transfer is. It is updated as bytes pass, and read by the reporter.
#[derive(Debug, Default)]
pub(super) struct TransferredBytes {
    done: AtomicU64,
    /// 0 if it is unknown.
    total: AtomicU64,
}

impl TransferredBytes {
    /// Sets how many bytes have passed, of how many if that is known.
    pub(super) fn set(&self, done: u64, total: Option<u64>) {
        self.total.store(total.unwrap_or_default(), Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, Option<u64>) {
        let total = self.total.load(Ordering::Relaxed);
        (self.done.load(Ordering::Relaxed), (total > 0).then_some(total))
    }
}

impl Downloader {
    /// Reports how far the transfer of a claimed download is, until `ended`.
    pub(super) async fn report_progress(
        &self,
        claimed: &ClaimedDownload,
        progress: &TransferredBytes,
        ended: &CancellationToken,
    ) {
        let save = |(bytes_done, bytes_total)| save_progress(&self.database, &claimed.lease, bytes_done, bytes_total);
        let log = |(bytes_done, bytes_total)| {
            info!(
                event = %LogEvent::DownloadProgress, render.id = %claimed.lease.render_id(),
                download.index = claimed.lease.index(), attempt = claimed.attempt, bytes_done, bytes_total,
                "a download is under way"
            );
        };
        ended.run_until_cancelled(report(progress, save, log)).await;
    }
}

/// Saves the progress at intervals, and logs it at longer ones. It does not end by itself.
async fn report<T, F: Future<Output = T>>(
    progress: &TransferredBytes,
    save: impl Fn((u64, Option<u64>)) -> F,
    log: impl Fn((u64, Option<u64>)),
) -> Infallible {
    loop {
        for saves in 1..=SAVES_PER_LINE {
            sleep(SAVE_INTERVAL).await;
            // OK to ignore an error: the next update comes soon.
            save(progress.get()).await;
            if saves == SAVES_PER_LINE {
                log(progress.get());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_row_is_updated_every_5_s_and_a_line_is_logged_every_30_s() {
        let (saved, logged) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let progress = TransferredBytes::default();
        progress.set(7, Some(100));
        let reporting = report(
            &progress,
            |state| {
                saved.lock().unwrap().push(state);
                std::future::ready(())
            },
            |state| {
                logged.lock().unwrap().push(state);
                progress.set(9, None);
            },
        );
        let result = timeout(Duration::from_secs(61), reporting).await;
        assert!(result.is_err(), "it ends with the transfer");
        assert_eq!(saved.into_inner().unwrap(), [vec![(7, Some(100)); 6], vec![(9, None); 6]].concat());
        assert_eq!(logged.into_inner().unwrap(), [(7, Some(100)), (9, None)]);
    }
}
