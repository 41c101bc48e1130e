//! The feed: the notifications of all renders, in order.
//!
//! [`Outbox`] writes notifications in the transaction of what they report, so that none is lost or invented. [`read()`]
//! returns them a page at a time, by [`FeedCursor`]. Guaranteed: a reader that follows the cursors sees every notification
//! exactly once, in one order, however many processes write.

mod cursor;
mod outbox;
mod posted_types;
mod read;

pub use self::cursor::{FeedCursor, InvalidFeedCursor};
pub use self::outbox::Outbox;
pub use self::posted_types::PostedTypes;
pub use self::read::{FeedEntry, FeedError, FeedFilter, FeedPage, read, remove_old};
