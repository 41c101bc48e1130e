//! `POST /webhook`.
//!
//! Guaranteed:
//! - 200 is only sent after the commit.
//! - An authentic event never gets 500 or 429. It gets 503 if Magic Hour should send it again, and another error only if a
//!   retry cannot help.
//! - Nothing of a request without a valid signature is stored, and its body uses limited memory.
//! - Each step has a deadline, so the answer is sent well within Magic Hour's limit of ten seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::timeout;
use tracing::{error, info, warn};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{DeliveryOutcome, Event, EventType, Kind, UnreadableEvent};
use crate::http::{BodyReader, HttpError, Message};
use crate::intake::metrics::{WEBHOOK_LAG, WEBHOOKS, WebhookLabel};
use crate::intake::record::{
    Observation, RecordOutcome, Recorded, Recorder, log_recorded, store_stale, store_unreadable,
};
use crate::intake::refused::Refused;
use crate::intake::signature::{
    Authentic, Delivery, Rejection, SIGNATURE_HEADER, SignatureHeaders, Stale, TIMESTAMP_HEADER, Verified, Verifier,
};
use crate::intake::skew::ClockSkew;
use crate::runtime::{Clock, Database, LogEvent, REQUEST_TIMEOUT};

/// The time limit of the whole handler, in case the deadlines of the steps do not suffice.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(8);
/// The authentication scheme in `WWW-Authenticate` of a 401.
const AUTH_SCHEME: &str = "MagicHourSignature";
/// How often the log explains what to do about stale deliveries.
const ADVICE_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// The state of the webhook handler.
#[derive(Debug)]
pub struct Receiver {
    /// Verifies signatures.
    pub verifier: Verifier,
    /// Stores unreadable and stale deliveries.
    pub database: Database,
    /// Records events.
    pub recorder: Recorder,
    /// The clock.
    pub clock: Clock,
    /// Reads bodies within the shared memory budget.
    pub bodies: BodyReader,
    /// The maximum size of a body.
    pub max_body_bytes: usize,
    /// Limits how often the log explains what to do about stale deliveries.
    pub advice: AdviceLimiter,
}

/// An event, as Magic Hour sends it.
#[derive(utoipa::ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "only used for the OpenAPI document")]
struct EventBody {
    /// The event's type.
    #[schema(example = "video.completed")]
    r#type: String,
    payload: PayloadBody,
}

/// The project that an event is about: the same object that Magic Hour's details API returns.
#[derive(utoipa::ToSchema)]
#[schema(as = Payload)]
#[expect(dead_code, reason = "only used for the OpenAPI document")]
struct PayloadBody {
    /// The render's id.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", example = "clx123")]
    id: String,
    #[schema(required = false, example = "complete")]
    status: Option<String>,
}

/// Receives webhooks from Magic Hour
///
/// Register this address in Magic Hour's Developer Hub.
#[utoipa::path(
    post,
    path = "/webhook",
    operation_id = "receive",
    tag = "webhook",
    security(()),
    params(
        ("magic-hour-event-signature" = String, Header, description = "HMAC-SHA256 in hex."),
        ("magic-hour-event-timestamp" = String, Header, description = "The time of signing, in Unix seconds."),
    ),
    request_body(
        content = EventBody,
        description = "An event. Fields that are not described here are stored, too.",
        example = json!({"type": "video.completed", "payload": {"id": "clx123", "status": "complete"}}),
    ),
    responses(
        (status = 200, description = "The event is recorded. Also sent for duplicate, late, and unknown events.", body = Message),
        (status = 400, description = "The body is authentic, but not a valid event; it is stored. Or the body is incomplete.", body = Message),
        (status = 401, description = "The signature is missing or wrong, or the timestamp is outside the tolerance.", body = Message),
        (status = 408, description = "The body did not arrive in time.", body = Message),
        (status = 413, description = "The body is larger than `MAX_BODY_BYTES`.", body = Message),
        (status = 503, description = "renderhook cannot record the event now. Magic Hour sends it again.", body = Message),
    ),
)]
async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> Result<Json<Message>, HttpError> {
    // Boxed, because each layer of the router moves the future of the one below.
    let answer = timeout(HANDLER_TIMEOUT, Box::pin(receiver.handle(request))).await;
    let answer = answer.unwrap_or_else(|_elapsed| Err(Refused::unavailable(HttpError::unavailable())));
    let outcome = match &answer {
        Ok(outcome) => WebhookLabel::Delivered((*outcome).into()),
        Err(refused) => refused.outcome,
    };
    WEBHOOKS.add((outcome,), 1);
    let message = answer.map(message).map_err(|refused| refused.error)?;
    Ok(Json(Message { message: message.to_owned() }))
}

/// What the sender of an event is told.
const fn message(outcome: RecordOutcome) -> &'static str {
    match outcome {
        RecordOutcome::Recorded => "recorded",
        RecordOutcome::Duplicate => "a duplicate: this event was recorded before",
        RecordOutcome::Late => "recorded: the render was already further along",
        RecordOutcome::Erased => "the render was erased: nothing of this event is kept",
        RecordOutcome::Unknown => "recorded: its type or status is not known yet",
    }
}

/// The route of webhooks.
pub fn webhook_routes() -> OpenApiRouter<Arc<Receiver>> {
    OpenApiRouter::new().routes(routes!(receive))
}

impl Receiver {
    async fn handle(&self, request: Request) -> Result<RecordOutcome, Refused> {
        let (head, body) = request.into_parts();
        if content_length(&head.headers).is_some_and(|length| length > self.max_body_bytes as u64) {
            return Err(Refused::too_large(self.too_large()));
        }
        let signature = signature_headers(&head.headers).map_err(rejected)?;
        let body = self.bodies.read(body, self.max_body_bytes, || self.too_large()).await;
        let body = body.map_err(Refused::body)?;
        let authentic = self.verifier.verify(&signature, body.clone(), self.clock.now()).map_err(rejected)?;
        if let Some(lag) = authentic.delivery().lag() {
            WEBHOOK_LAG.observe((), lag.as_seconds_f64().max(0.0));
        }
        match authentic {
            Authentic::Fresh(verified) => self.record_event(verified).await,
            Authentic::Stale(stale) => Err(Box::pin(self.quarantine_stale(stale)).await),
        }
    }

    fn too_large(&self) -> HttpError {
        let message = format!("the body is larger than {} bytes: raise MAX_BODY_BYTES", self.max_body_bytes);
        warn!(event = %LogEvent::WebhookRejected, error = "too_large", "rejected a request to /webhook: {message}");
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    async fn record_event(&self, verified: Verified) -> Result<RecordOutcome, Refused> {
        let observation = match Observation::webhook(&verified) {
            Ok(observation) => observation,
            Err(why) => return Err(Box::pin(self.quarantine_unreadable(&verified, why)).await),
        };
        let (observation, recorded) = self.recorder.record(observation).await?;
        log_delivery(&verified, &observation, &recorded);
        Ok(recorded.outcome)
    }

    async fn quarantine_unreadable(&self, verified: &Verified, why: UnreadableEvent) -> Refused {
        let stored = || store_unreadable(self.database.pool(), verified, why);
        if let Err(error) = self.database.with_timeout_and_retry(REQUEST_TIMEOUT, stored).await {
            return error.into();
        }
        error!(event = %LogEvent::WebhookUnreadable, error = %why, "stored an authentic delivery that is not a valid event");
        let error = HttpError::bad_request(format!("{why}; the body was stored"));
        Refused::quarantined(DeliveryOutcome::Unreadable, error)
    }

    async fn quarantine_stale(&self, stale: Stale) -> Refused {
        let delivery = stale.delivery();
        let event = Event::parse(&delivery.body).ok();
        let stored = || store_stale(self.database.pool(), &stale, event.as_ref());
        if let Err(error) = self.database.with_timeout_and_retry(REQUEST_TIMEOUT, stored).await {
            return error.into();
        }
        self.log_stale(delivery, event.as_ref());
        let message = "the timestamp is outside the tolerance, so the event is not recorded: sign it again";
        Refused::quarantined(DeliveryOutcome::Stale, HttpError::unauthorized(AUTH_SCHEME, message))
    }

    /// Logs every stale delivery, but explains what to do only once an hour, because all deliveries are stale if a clock is wrong.
    fn log_stale(&self, delivery: &Delivery, event: Option<&Event>) {
        let skew = ClockSkew::of(delivery.sent_at, delivery.received_at);
        let message = if self.advice.is_due(delivery.received_at) {
            format!(
                "the timestamp of an authentic delivery is outside the tolerance. The delivery is stored but not trusted, and \
                 the render is polled if MAGIC_HOUR_API_KEY is set. {skew}"
            )
        } else {
            "the timestamp of another authentic delivery is outside the tolerance".to_owned()
        };
        warn!(
            event = %LogEvent::WebhookStale,
            webhook.r#type = event.map(|event| event.event_type.as_str()),
            render.id = event.map(|event| event.payload.id.as_str()),
            lag_ms = delivery.lag_ms(),
            error = skew.cause.code(),
            "{message}"
        );
    }
}

/// Allows a piece of advice to be logged once per interval.
#[derive(Debug, Default)]
pub struct AdviceLimiter(Mutex<Option<DateTime<Utc>>>);

impl AdviceLimiter {
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        let mut advised_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = advised_at.is_none_or(|advised_at| (now - advised_at).abs() >= ADVICE_INTERVAL);
        if due {
            *advised_at = Some(now);
        }
        due
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn signature_headers(headers: &HeaderMap) -> Result<SignatureHeaders, Rejection> {
    let values = |name| headers.get_all(name).iter().map(axum::http::HeaderValue::as_bytes);
    SignatureHeaders::parse(values(SIGNATURE_HEADER), values(TIMESTAMP_HEADER))
}

fn rejected(why: Rejection) -> Refused {
    warn!(event = %LogEvent::WebhookRejected, error = why.code(), "rejected a request to /webhook: {why}");
    Refused::rejected(HttpError::unauthorized(AUTH_SCHEME, why.to_string()))
}

fn log_delivery(verified: &Verified, observation: &Observation, recorded: &Recorded) {
    let log_event = match recorded.outcome {
        RecordOutcome::Recorded => LogEvent::WebhookRecorded,
        RecordOutcome::Duplicate => LogEvent::WebhookDuplicate,
        RecordOutcome::Late => LogEvent::WebhookLate,
        RecordOutcome::Erased => LogEvent::WebhookErased,
        RecordOutcome::Unknown => LogEvent::WebhookUnknown,
    };
    info!(
        event = %log_event,
        webhook.r#type = observation.event_type().map(EventType::as_str),
        render.id = %observation.render_id(),
        render.kind = observation.kind().map(Kind::as_str),
        lag_ms = verified.delivery().lag_ms(),
        downloads.queued = recorded.queued,
        "a delivery was recorded"
    );
    log_recorded(observation, recorded);
}
