//! What the API reads from the database and writes to it: a render, a list of renders, a file, an announcement.
//!
//! Guaranteed: a read is one round trip, however many renders, downloads and transitions it returns; and a render in a
//! list is shown exactly as it is alone, since both come from one statement, `select_renders!`, and one type,
//! [`RenderView`].

pub mod announce;
mod file;
mod link_key;
mod list;
mod one;
mod row;
mod view;

pub use self::file::{File, StoredFile, file};
pub use self::link_key::link_key;
pub use self::list::{Cursor, Filter, InvalidCursor, Line, Page, list, newest};
pub use self::one::{exists, render};
pub(in crate::api) use self::row::file_path;
pub use self::view::RenderView;
