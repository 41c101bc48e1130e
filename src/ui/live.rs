//! Live updates: a stream that says when something has changed. The script then asks for the page again.
//!
//! It sends at most one event a second, however much happens. The event does not say what has changed, because a page shows
//! more than events do.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

use super::error::UiError;
use super::renders::render_in_path;
use super::router::UiState;
use super::session::{Operator, Visitor, is_session_alive};
use crate::domain::RenderId;
use crate::http::{HeldPlace, InFlightPlace};
use crate::streams::Subscription;

/// The minimum time between two events.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two comments, which keep the connection, and between two checks of the session.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

const CHANGED: Bytes = Bytes::from_static(b"event: changed\ndata: {}\n\n");
const LOGGED_OUT: Bytes = Bytes::from_static(b"event: logged-out\ndata: {}\n\n");
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
const GREETING: Bytes = Bytes::from_static(b"retry: 3000\n\n");

/// What a stream needs.
struct LiveUpdates {
    state: Arc<UiState>,
    visitor: Visitor,
    subscription: Subscription,
    next_heartbeat: Instant,
    /// When the next event may be sent.
    next_event: Instant,
    /// Whether something has changed since the last event.
    has_changed: bool,
    next_frame: Option<Bytes>,
    is_over: bool,
    _place: HeldPlace,
}

/// `GET /ui/live`: changes of any render.
pub(super) async fn all(
    State(state): State<Arc<UiState>>,
    Extension(in_flight): Extension<InFlightPlace>,
    Extension(visitor): Extension<Visitor>,
    _operator: Operator,
) -> Result<Response, UiError> {
    start(state, &in_flight, visitor, None).await
}

/// `GET /ui/renders/{id}/live`: changes of one render.
pub(super) async fn of_render(
    State(state): State<Arc<UiState>>,
    Extension(in_flight): Extension<InFlightPlace>,
    Extension(visitor): Extension<Visitor>,
    _operator: Operator,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, UiError> {
    let id = render_in_path(id)?;
    start(state, &in_flight, visitor, Some(id)).await
}

async fn start(
    state: Arc<UiState>,
    in_flight: &InFlightPlace,
    visitor: Visitor,
    render: Option<RenderId>,
) -> Result<Response, UiError> {
    let place = state.api.hold(in_flight)?;
    let subscription = state.api.subscribe(render.as_ref()).await?;
    let updates = LiveUpdates {
        state,
        visitor,
        subscription,
        next_heartbeat: Instant::now() + HEARTBEAT_INTERVAL,
        next_event: Instant::now(),
        has_changed: false,
        next_frame: Some(GREETING),
        is_over: false,
        _place: place,
    };
    let frames = stream::unfold(updates, |mut updates| async { Some((updates.next().await?, updates)) });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Tells nginx not to buffer the stream.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(frames.map(Ok::<_, std::convert::Infallible>))).into_response())
}

/// What ends a wait.
enum LiveWake {
    Stopping,
    Changed,
    Heartbeat,
}

impl LiveUpdates {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if let Some(frame) = self.next_frame.take() {
            return Some(frame);
        }
        match self.wait().await {
            LiveWake::Stopping => None,
            LiveWake::Changed => {
                self.has_changed = false;
                self.next_event = Instant::now() + MIN_INTERVAL;
                Some(CHANGED)
            }
            LiveWake::Heartbeat => {
                self.next_heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                self.is_over = !is_session_alive(&self.state, &self.visitor).await;
                Some(if self.is_over { LOGGED_OUT } else { HEARTBEAT })
            }
        }
    }

    async fn wait(&mut self) -> LiveWake {
        loop {
            tokio::select! {
                biased;
                () = self.state.api.shutdown.wait_for_stop() => return LiveWake::Stopping,
                () = sleep_until(self.next_heartbeat) => return LiveWake::Heartbeat,
                () = sleep_until(self.next_event), if self.has_changed => return LiveWake::Changed,
                _arrival = self.subscription.next() => self.has_changed = true,
            }
        }
    }
}
