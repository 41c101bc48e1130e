//! What an application reads: a render, a list of renders, a file.
//!
//! Guaranteed: each is one round trip, however many renders, downloads and transitions it brings; and a render in a
//! list is told word for word as it is told alone, since both come from one statement, `told!`, and one type, [`Render`].

pub mod announce;
mod file;
mod link_key;
mod list;
mod one;
mod render;
mod row;

pub use self::file::{File, StoredFile, file};
pub use self::link_key::link_key;
pub use self::list::{Cursor, Filter, InvalidCursor, Line, Page, list, newest};
pub use self::one::render;
pub use self::render::Render;
pub(in crate::api) use self::row::file_path;
use crate::domain::ArchiveState;
