//! The API's own database statements: announcing a render, a file's metadata, the key of file links.

pub mod announce;
mod file;
mod link_key;

pub use self::file::{FileLookup, StoredFile, file};
pub use self::link_key::link_key;
