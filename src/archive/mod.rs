//! A file's journey: from the queue through the downloader into the store.

pub mod backlog;
mod backoff;
mod checkpoint;
pub mod download;
pub mod fetch;
mod locked_renders;
mod media_type;
pub mod queue;
pub mod retry;
mod settlement;
mod store;
pub mod worker;

pub use self::backlog::Backlog;
pub use self::download::Downloader;
pub use self::fetch::guard::{Guard, HostSuffix};
pub use self::fetch::{Failure, Fetcher};
pub use self::queue::{Capacity, Claimed, LeaseError, Reason, StoredObject};
pub use self::retry::{RetriedDownload, RetryFilter, RetryState};
pub use self::settlement::{Attempt, Outcome, Settlement, Settler};
pub use self::store::{BucketError, InvalidStorageUrl, LINK_LIFETIME, NewObject, Store, StoreError, Upload};
