//! An event of the feed, as answers and streams show it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::RenderView;
use crate::domain::{Notification, NotificationId, NotificationType, Status};
use crate::feed::{FeedCursor, FeedEntry};

/// Something that happened to a render.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = FeedEvent)]
pub struct EventView {
    /// The id, which is also the `webhook-id` of the notification.
    id: NotificationId,
    r#type: NotificationType,
    /// When it happened.
    timestamp: DateTime<Utc>,
    render_id: String,
    /// The place in the feed, to continue after this event.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{16}$")]
    cursor: FeedCursor,
    /// Only for `render.moved`: the statuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    transition: Option<MovedView>,
    /// Only for `download.stored` and `download.failed`: the index of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<i32>,
    /// The render as it is now, without `notifications`; `null` if it cannot be read any more.
    #[schema(required = true)]
    data: Option<RenderView>,
}

/// A change of a render's status.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = StatusChange)]
struct MovedView {
    /// `null` for the first status.
    #[schema(required = true)]
    from: Option<Status>,
    to: Status,
}

impl EventView {
    /// Shows an entry of the feed, with its render if that is among `renders`.
    #[must_use]
    pub fn new(entry: FeedEntry, renders: &HashMap<String, RenderView>) -> Self {
        let (transition, index) = match entry.notification {
            Notification::Moved { from, to } => (Some(MovedView { from, to }), None),
            Notification::DownloadStored { index } | Notification::DownloadFailed { index } => (None, Some(index)),
            Notification::Ready | Notification::Incomplete | Notification::Failed | Notification::Canceled => {
                (None, None)
            }
        };
        Self {
            id: NotificationId::new(entry.id),
            r#type: entry.notification.notification_type(),
            timestamp: entry.at,
            cursor: entry.cursor,
            transition,
            index,
            data: renders.get(&entry.render_id).cloned(),
            render_id: entry.render_id,
        }
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> NotificationType {
        self.r#type
    }

    /// Its place in the feed.
    #[must_use]
    pub fn cursor(&self) -> FeedCursor {
        self.cursor
    }

    /// Whether its render is finished by now.
    #[must_use]
    pub fn is_render_finished(&self) -> bool {
        self.data.as_ref().is_some_and(RenderView::is_finished)
    }
}
