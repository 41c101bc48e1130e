//! The language of the service: renders, their statuses, events, object keys. Pure: no I/O, no clock.

mod archive_state;
mod download_state;
pub mod event;
mod object_key;
pub mod render;

pub use self::archive_state::{ArchiveState, FileCounts};
pub use self::download_state::DownloadState;
pub use self::event::{Action, Entry, Event, EventType, Facts, Nullable, Payload, RenderError, SignedUrl, Unreadable};
pub use self::object_key::ObjectKey;
pub use self::render::{ExternalId, Kind, RenderId, Status, rank_of};
