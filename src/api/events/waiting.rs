//! `GET /events?wait=`: an empty page is held until something happens.
//!
//! The answer is made of what the hub passes on, so the database is read once for all callers that wait.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, timeout_at};

use super::list::{EventList, PageRequest};
use crate::api::renders::ApiState;
use crate::feed::FeedCursor;
use crate::http::HttpError;
use crate::streams::{Arrival, EventPage, LiveEvent, Subscription};

/// How a wait ended.
enum Waited {
    /// The answer, from what was passed on.
    Answer(Response),
    /// Some events were missed, and have to be read from the database.
    Missed,
    /// The time is up, or the service stops.
    Over,
}

impl ApiState {
    pub(super) async fn wait_for_events(&self, request: &PageRequest) -> Result<Response, HttpError> {
        let deadline = Instant::now() + request.wait;
        let mut subscription = self.subscribe(None).await?; // before the first read, so that nothing is missed
        let mut after = request.after;
        loop {
            let page = self.page(request, after).await?;
            if !page.events.is_empty() || Instant::now() >= deadline || self.shutdown.is_stopping() {
                return Ok(Json(EventList::from(page)).into_response());
            }
            after = Some(page.next);
            if !page.is_end {
                continue;
            }
            let waiting = self.wait_for_arrival(request, page.next, &mut subscription, deadline);
            match waiting.await {
                Waited::Answer(answer) => return Ok(answer),
                Waited::Missed => {}
                Waited::Over => return Ok(Json(EventList::from(EventPage { events: vec![], ..page })).into_response()),
            }
        }
    }

    async fn wait_for_arrival(
        &self,
        request: &PageRequest,
        cursor: FeedCursor,
        subscription: &mut Subscription,
        deadline: Instant,
    ) -> Waited {
        let arrival = async {
            loop {
                let Arrival::Events(events) = subscription.next().await else { return Waited::Missed };
                let wanted = |event: &&LiveEvent| {
                    event.cursor().is_after(cursor) && request.filter.types.contains(&event.event_type())
                };
                let wanted: Vec<_> = events.iter().filter(wanted).take(request.limit.into()).collect();
                if !wanted.is_empty() {
                    return list(&wanted).map_or(Waited::Missed, Waited::Answer);
                }
            }
        };
        tokio::select! {
            arrived = timeout_at(deadline, arrival) => arrived.unwrap_or(Waited::Over),
            () = self.shutdown.wait_for_stop() => Waited::Over,
        }
    }
}

/// The answer with these events; `None` if one of them has to be read from the database.
fn list(events: &[&LiveEvent]) -> Option<Response> {
    let last = events.last()?.cursor();
    let events: Option<Vec<_>> = events.iter().map(|event| event.json()).collect();
    let mut body = br#"{"events":["#.to_vec();
    body.extend_from_slice(&events?.join(&b','));
    body.extend_from_slice(format!(r#"],"next_cursor":"{last}"}}"#).as_bytes());
    Some(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
