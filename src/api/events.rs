//! `GET /events`: the feed, a page at a time. With `?wait=`, an empty answer is held until something happens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use super::renders::ApiState;
use crate::domain::{Notification, NotificationId, NotificationType, Status};
use crate::feed::{self, Cursor, Entry, FeedError, Filter, Page};
use crate::http::{CommonErrors, HttpError, Message};
use crate::runtime::REQUEST_TIMEOUT;
use crate::views::{self, RenderView};

/// The default page size.
const DEFAULT_LIMIT: u16 = 100;
/// The maximum page size.
const MAX_LIMIT: u16 = 1_000;
/// How many files and transitions of renders a page shows at most, unless its first event has more. Each event shows a whole
/// render, so the number of events alone does not bound a page.
const MAX_PAGE_WEIGHT: usize = 20_000;
/// How often the feed is read while waiting, without a wakeup.
const READ_INTERVAL: Duration = Duration::from_secs(2);

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsParameters {
    /// The `next_cursor` of the previous page, or the `cursor` of an event. Without it, the feed begins with the oldest
    /// event that is kept.
    #[param(pattern = "^[A-Za-z0-9_-]{16}$")]
    after: Option<String>,
    /// The page size.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// The types of events, comma-separated. By default, all types that can be posted as notifications:
    /// `download.stored` and `download.failed` must be named.
    #[param(pattern = "^[a-z.]+(,[a-z.]+)*$", example = "render.ready,download.stored")]
    types: Option<String>,
    /// How long to hold an empty answer: at most `60s`.
    #[param(pattern = "^([0-5]?[0-9]|60)s$", example = "30s")]
    wait: Option<String>,
}

/// A page of the feed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The events, in the order of the feed.
    events: Vec<EventView>,
    /// The `after` of the next page. Also given if there are no events: then nothing has happened yet.
    #[schema(pattern = "^[A-Za-z0-9_-]{16}$")]
    next_cursor: String,
}

/// Something that happened to a render.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = FeedEvent)]
pub(crate) struct EventView {
    /// The id, which is also the `webhook-id` of the notification.
    id: NotificationId,
    r#type: NotificationType,
    /// When it happened.
    timestamp: DateTime<Utc>,
    render_id: String,
    /// The place in the feed, to continue after this event.
    #[schema(pattern = "^[A-Za-z0-9_-]{16}$")]
    cursor: String,
    /// Only for `render.moved`: the statuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    transition: Option<StatusChange>,
    /// Only for `download.stored` and `download.failed`: the index of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<i32>,
    /// The render as it is now, without `notifications`; `null` if it cannot be read any more.
    #[schema(required = true)]
    data: Option<RenderView>,
}

/// A change of a render's status.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct StatusChange {
    /// `null` for the first status.
    #[schema(required = true)]
    from: Option<Status>,
    to: Status,
}

/// Read the feed
///
/// Everything that happened to renders, oldest first: what is posted to `NOTIFY_URL`, and more. Following the cursors
/// returns every event exactly once, in one order. Events are kept for `EVENT_RETENTION`.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "list_events",
    tag = "events",
    params(EventsParameters),
    responses(
        (status = 200, description = "A page of the feed. It may be empty.", body = EventList),
        (status = 400, description = "A parameter is invalid, unknown or repeated.", body = Message),
        (status = 410, description = "Events after the cursor are not kept any more, or it belongs to another database. Read the renders that you need, then the feed from its beginning.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn get(
    State(state): State<Arc<ApiState>>,
    parameters: Result<Query<EventsParameters>, QueryRejection>,
) -> Result<Json<EventList>, HttpError> {
    let Query(parameters) = parameters.map_err(|rejection| parameters::bad_query(&rejection))?;
    let expected = || "the `next_cursor` or the `cursor` of an earlier answer".to_owned();
    let after = parameters::read("after", parameters.after.as_ref(), expected)?;
    let limit = parameters::limit(parameters.limit.as_ref(), DEFAULT_LIMIT, MAX_LIMIT)?;
    let filter = Filter { types: types(parameters.types.as_deref())?, render: None };
    let wait = parameters::wait(parameters.wait.as_ref())?;
    state.events(&filter, after, limit, wait).await.map(Json)
}

/// The types that are asked for.
fn types(list: Option<&str>) -> Result<Vec<NotificationType>, HttpError> {
    let Some(list) = list else {
        return Ok(NotificationType::ALL.into_iter().filter(|it| it.can_be_posted()).collect());
    };
    let types: Result<Vec<_>, _> = list.split(',').map(|text| text.trim().parse::<NotificationType>()).collect();
    let all = || parameters::one_of(&NotificationType::ALL.map(NotificationType::as_str));
    types.map_err(|_| parameters::must_be("types", &format!("a comma-separated list, each {}", all())))
}

impl ApiState {
    async fn events(
        &self,
        filter: &Filter,
        mut after: Option<Cursor>,
        limit: u16,
        wait: Duration,
    ) -> Result<EventList, HttpError> {
        let deadline = Instant::now() + wait;
        let mut growth = self.wakeups.subscribe_to_feed(); // before the first read, so that nothing is missed
        loop {
            let page = self.page(filter, after, limit).await?;
            if !page.entries.is_empty() || Instant::now() >= deadline || self.shutdown.is_stopping() {
                return self.list(page).await;
            }
            after = Some(page.next);
            if !page.is_end {
                continue;
            }
            tokio::select! {
                () = growth.wait() => {}
                () = self.shutdown.wait_for_stop() => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + READ_INTERVAL)) => {}
            }
        }
    }

    async fn page(&self, filter: &Filter, after: Option<Cursor>, limit: u16) -> Result<Page, HttpError> {
        let page = async {
            match feed::read(self.database.pool(), filter, after, limit.into()).await {
                Ok(page) => Ok(Some(page)),
                Err(FeedError::Expired) => Ok(None),
                Err(FeedError::Database(error)) => Err(error),
            }
        };
        self.database.with_timeout(REQUEST_TIMEOUT, page).await?.ok_or_else(|| {
            HttpError::new(
                StatusCode::GONE,
                "the cursor has expired: events after it are not kept any more, or it belongs to another database; \
                 read the renders that you need with GET /renders, then the feed without `after`",
            )
        })
    }

    /// The page with its renders, which are read with one statement.
    async fn list(&self, page: Page) -> Result<EventList, HttpError> {
        if page.entries.is_empty() {
            return Ok(EventList { events: Vec::new(), next_cursor: page.next.to_string() });
        }
        let mut ids: Vec<_> = page.entries.iter().map(|entry| entry.render_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let renders = views::renders(self.database.pool(), &self.store, &ids);
        let renders = self.database.with_timeout(REQUEST_TIMEOUT, renders).await?;
        let weights = page.entries.iter().map(|entry| renders.get(&entry.render_id).map_or(0, RenderView::weight));
        let count = fitting(weights, MAX_PAGE_WEIGHT);
        let next = if count < page.entries.len() { page.entries[count - 1].cursor } else { page.next };
        let entries = page.entries.into_iter().take(count);
        let events = entries.map(|entry| EventView::new(entry, &renders)).collect();
        Ok(EventList { events, next_cursor: next.to_string() })
    }
}

/// How many events of these weights fit into a page: at least one.
fn fitting(weights: impl Iterator<Item = usize>, max: usize) -> usize {
    let total = weights.scan(0_usize, |total, weight| {
        *total = total.saturating_add(weight);
        Some(*total)
    });
    total.take_while(|total| *total <= max).count().max(1)
}

impl EventView {
    fn new(entry: Entry, renders: &HashMap<String, RenderView>) -> Self {
        let (transition, index) = match entry.notification {
            Notification::Moved { from, to } => (Some(StatusChange { from, to }), None),
            Notification::DownloadStored { index } | Notification::DownloadFailed { index } => (None, Some(index)),
            Notification::Ready | Notification::Incomplete | Notification::Failed | Notification::Canceled => {
                (None, None)
            }
        };
        Self {
            id: NotificationId::new(entry.id),
            r#type: entry.notification.notification_type(),
            timestamp: entry.at,
            cursor: entry.cursor.to_string(),
            transition,
            index,
            data: renders.get(&entry.render_id).cloned(),
            render_id: entry.render_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_before_the_event_that_makes_it_too_heavy_but_has_at_least_one() {
        for (weights, expected) in [(vec![1, 1, 1], 3), (vec![4, 6, 1], 2), (vec![11, 1], 1), (vec![10], 1)] {
            assert_eq!(fitting(weights.into_iter(), 10), expected);
        }
    }
}
