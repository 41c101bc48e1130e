//! The API's database statements: reading a render, a list of renders, or a file, and announcing a render.
//!
//! Each read is one round trip, however many renders, downloads, and transitions it returns. A render looks the same in a
//! list and by itself, because both use one statement, `select_renders!`, and one type, [`RenderView`].

pub mod announce;
mod file;
mod link_key;
mod list;
mod one;
mod row;
mod view;

pub use self::file::{FileLookup, StoredFile, file};
pub use self::link_key::link_key;
pub use self::list::{Cursor, InvalidCursor, ListFilter, Page, list};
pub use self::one::{exists, render};
pub(in crate::api) use self::row::file_path;
pub use self::view::RenderView;
