//! The feed as it grows: server-sent events, and callers whose answer is held.
//!
//! [`Hub`] reads the feed once for the whole process, shows each event once, and passes it to those who want it:
//! [`EventStream`]s, and callers of `?wait=`. Guaranteed: a stream sends each event once and in the order of the feed,
//! also if it is slower than the feed, because it then reads on in the database; whatever a client does, a stream holds
//! a bounded amount of memory.

mod backlog;
mod frame;
mod hub;
mod reader;
mod stream;
mod subscribers;
mod subscription;

pub use self::frame::{LiveEvent, end_cursor};
pub use self::hub::Hub;
pub use self::reader::{EventPage, EventReader, PageLimit, ReadError};
pub use self::stream::EventStream;
pub use self::subscription::{Arrival, Subscription};
