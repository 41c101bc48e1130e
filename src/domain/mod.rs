//! The domain: renders, their statuses, events, and object keys. Pure: no I/O and no clock.

mod archive_state;
mod delivery_outcome;
mod download_state;
mod event;
mod notification;
mod object_key;
mod render;

pub use self::archive_state::{ArchiveState, FileCounts};
pub use self::delivery_outcome::DeliveryOutcome;
pub use self::download_state::DownloadState;
pub use self::event::{
    Action, DownloadEntry, Event, EventType, Measure, Nullable, OutputField, OutputFields, Payload, PayloadFields,
    RenderError, SignedUrl, UnreadableEvent,
};
pub use self::notification::{Notification, NotificationId, NotificationState, NotificationType, Progress};
pub use self::object_key::ObjectKey;
pub(crate) use self::render::string_enum;
pub use self::render::{
    ExternalId, ExternalIdOrigin, ExternalIdPattern, InvalidExternalId, InvalidExternalIdPattern, InvalidRenderId,
    Kind, RenderId, Status, UnknownVariant, rank_of,
};
