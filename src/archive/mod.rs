//! A file's journey: from the queue through the downloader into the store.

mod backlog;
mod backoff;
mod checkpoint;
mod download;
mod fetch;
mod locked_renders;
mod media_type;
mod metrics;
mod queue;
mod retry;
mod settlement;
mod store;
mod verify;
mod worker;

pub use self::backlog::{Backlog, watch_backlog};
pub use self::download::Downloader;
pub use self::fetch::{Failure, Fetcher, Guard, GuardedResolver, HostSuffix, UrlRejection};
pub use self::metrics::METRICS;
pub use self::queue::{
    Capacity, ClaimedDownload, Lease, LeaseError, Reason, StoredObject, claim_downloads, next_due_download, renew_lease,
};
pub use self::retry::{
    RetriedDownload, RetryFilter, RetryState, preview_each_retry, preview_retry, retry_downloads, retry_each_download,
};
pub use self::settlement::{AttemptOutcome, AttemptReport, Settlement, Settler};
pub use self::store::{
    BucketError, InvalidStorageUrl, LINK_LIFETIME, NewObject, Store, StoreError, StoreHealth, Upload,
};
pub use self::verify::{
    FilePosition, ObjectFault, RepairOutcome, StoredFileFilter, StoredFileRecord, hash_object, is_current, repair,
    stored_files, verify_file,
};
pub use self::worker::run_worker;
