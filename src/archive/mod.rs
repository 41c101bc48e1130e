//! A file's journey: from the queue through the downloader into the store.

pub mod backlog;
mod backoff;
mod checkpoint;
pub mod download;
pub mod fetch;
mod media_type;
pub mod queue;
mod renewal;
pub mod retry;
mod store;
pub mod worker;

pub use self::backlog::Backlog;
pub use self::download::Downloader;
pub use self::fetch::Fetcher;
pub use self::fetch::guard::{Guard, HostSuffix};
pub use self::queue::{Claimed, LeaseLost, Reason, Room, Stored};
pub use self::retry::Selection;
pub use self::store::{BucketError, InvalidStorageUrl, LINK_LIFETIME, Store, StoreError, Upload};
