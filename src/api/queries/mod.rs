//! The API's own database statements: announcing a render, a file's metadata, the key of file links.

mod announce;
mod file;
mod link_key;

pub use self::announce::{AnnounceOutcome, Announcement, ExternalIdUpdate, announce};
pub(super) use self::file::{FileLookup, StoredFile, file};
pub(super) use self::link_key::link_key;
