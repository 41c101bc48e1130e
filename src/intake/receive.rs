//! `POST /webhook`: from a request to an answer.
//!
//! Guaranteed: 200 only after what was said is committed; an authentic event is never answered with 500 or 429, and
//! with a refusal only where sending it again cannot help or, as 503, where it will; nothing is stored, and no more than
//! the largest body is held, for who cannot sign. Each step has its own deadline, and together they end well before
//! Magic Hour's ten seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::domain::event;

use crate::domain::Kind;
use crate::domain::{Event, EventType};
use crate::http::{BodyReader, HttpError, Message};
use crate::intake::record::{self, Observation, Outcome, RecordError, Recorded, Recorder, kept};
use crate::intake::signature::{
    Delivery, Rejection, SIGNATURE_HEADER, SignatureHeaders, Stale, TIMESTAMP_HEADER, Verdict, Verified, Verifier,
};
use crate::intake::skew::Skew;
use crate::runtime::Clock;
use crate::runtime::LogEvent;
use crate::runtime::{Database, REQUEST_TIMEOUT};

/// How long the whole may take. The steps' own deadlines end before it; it is for what they do not foresee.
const HANDLER: Duration = Duration::from_secs(8);
/// What a 401 asks for: the two signature headers.
const CHALLENGE: &str = "MagicHourSignature";
/// How often it is said what to do about stale deliveries.
const ADVICE: TimeDelta = TimeDelta::hours(1);

/// What receiving needs.
#[derive(Debug)]
pub struct Receiver {
    /// Who is believed.
    pub verifier: Verifier,
    /// Where deliveries are kept that are not recorded.
    pub database: Database,
    /// What records the others.
    pub recorder: Recorder,
    /// What time it is.
    pub clock: Clock,
    /// Reads the bodies, within the memory that all of them share.
    pub bodies: BodyReader,
    /// The largest body.
    pub max_body_bytes: usize,
    /// When it was last said what to do about stale deliveries.
    pub advised: Advised,
}

/// An event, as Magic Hour sends it.
#[derive(utoipa::ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "it only describes the body")]
struct EventBody {
    /// The event's type.
    #[schema(example = "video.completed")]
    r#type: String,
    payload: PayloadBody,
}

/// The project that an event is about: the same object that Magic Hour's details API returns.
#[derive(utoipa::ToSchema)]
#[schema(as = Payload)]
#[expect(dead_code, reason = "it only describes the body")]
struct PayloadBody {
    /// The render's id.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", example = "clx123")]
    id: String,
    #[schema(required = false, example = "complete")]
    status: Option<String>,
}

/// Takes a delivery of a webhook
///
/// The address to register in Magic Hour's Developer Hub.
#[utoipa::path(
    post,
    path = "/webhook",
    operation_id = "receive",
    tag = "webhook",
    security(()),
    params(
        ("magic-hour-event-signature" = String, Header, description = "HMAC-SHA256 in hex."),
        ("magic-hour-event-timestamp" = String, Header, description = "When it was signed, in Unix seconds."),
    ),
    request_body(
        content = EventBody,
        description = "An event. Fields that are not described here are kept, too.",
        example = json!({"type": "video.completed", "payload": {"id": "clx123", "status": "complete"}}),
    ),
    responses(
        (status = 200, description = "It is committed; a duplicate, a late and an unknown one as well.", body = Message),
        (status = 400, description = "It is authentic and no event, and is kept; or it was not whole.", body = Message),
        (status = 401, description = "Its signature is not believed, or not its time.", body = Message),
        (status = 408, description = "The body did not arrive in time.", body = Message),
        (status = 413, description = "The body is larger than `MAX_BODY_BYTES`.", body = Message),
        (status = 503, description = "Our own trouble: send it again.", body = Message),
    ),
)]
pub async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> Result<Json<Message>, HttpError> {
    let answer = timeout(HANDLER, receiver.take(request)).await;
    let message = answer.unwrap_or_else(|_elapsed| Err(HttpError::unavailable()))?;
    Ok(Json(Message { message: message.to_owned() }))
}

impl Receiver {
    async fn take(&self, request: Request) -> Result<&'static str, HttpError> {
        let (head, body) = request.into_parts();
        if announced(&head.headers).is_some_and(|length| length > self.max_body_bytes as u64) {
            return Err(self.too_large());
        }
        let seal = seal(&head.headers).map_err(rejected)?;
        let body = self.bodies.read(body, self.max_body_bytes, || self.too_large()).await?;
        match self.verifier.verify(&seal, body.clone(), self.clock.now()).map_err(rejected)? {
            Verdict::Fresh(verified) => self.record_event(verified).await,
            Verdict::Stale(stale) => self.quarantine_stale(stale).await,
        }
    }

    fn too_large(&self) -> HttpError {
        let message = format!("the body is larger than {} bytes: raise MAX_BODY_BYTES", self.max_body_bytes);
        warn!(event = %LogEvent::WebhookRejected, error = "too_large", "refused a request to /webhook: {message}");
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    async fn record_event(&self, verified: Verified) -> Result<&'static str, HttpError> {
        let observation = match Observation::webhook(&verified) {
            Ok(observation) => observation,
            Err(why) => {
                self.database
                    .with_timeout(REQUEST_TIMEOUT, kept::unreadable(self.database.pool(), &verified, why))
                    .await?;
                error!(event = %LogEvent::WebhookUnreadable, error = %why, "kept an authentic delivery that is no event");
                return Err(HttpError::bad_request(format!("{why}; the body is kept")));
            }
        };
        let (observation, recorded) = self.recorder.record(observation).await?;
        log_delivery(&verified, &observation, &recorded);
        Ok(match recorded.outcome {
            Outcome::Recorded => "recorded",
            Outcome::Duplicate => "a duplicate: this event was recorded before",
            Outcome::Late => "recorded: the render had already come further",
            Outcome::Unknown => "recorded: this type or status is not known yet and is kept",
        })
    }

    async fn quarantine_stale(&self, stale: Stale) -> Result<&'static str, HttpError> {
        let delivery = stale.delivery();
        let event = event::parse(&delivery.body).ok();
        let kept = kept::stale(self.database.pool(), &stale, event.as_ref());
        self.database.with_timeout(REQUEST_TIMEOUT, kept).await?;
        self.say_stale(delivery, event.as_ref());
        Err(HttpError::unauthorized(
            CHALLENGE,
            "the timestamp is outside the tolerance: the event is not believed; sign it afresh",
        ))
    }
}

impl Receiver {
    /// Tells of each, and of what to do once an hour: when a clock is off, every delivery is stale.
    fn say_stale(&self, delivery: &Delivery, event: Option<&Event>) {
        let skew = Skew::of(delivery.sent_at, delivery.received_at);
        let message = if self.advised.is_due(delivery.received_at) {
            format!(
                "an authentic delivery was signed outside the tolerance: it is kept and not believed, and Magic Hour is asked \
                 about the render if there is a key; {skew}"
            )
        } else {
            "an authentic delivery was signed outside the tolerance, like one before".to_owned()
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

/// When something was last said that is not to be said with every delivery.
#[derive(Debug, Default)]
pub struct Advised(Mutex<Option<DateTime<Utc>>>);

impl Advised {
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        let mut said_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = said_at.is_none_or(|said_at| (now - said_at).abs() >= ADVICE);
        if due {
            *said_at = Some(now);
        }
        due
    }
}

impl From<RecordError> for HttpError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::QueueFull => Self::overloaded(),
            RecordError::Database(error) => error.into(),
        }
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn seal(headers: &HeaderMap) -> Result<SignatureHeaders, Rejection> {
    let values = |name| headers.get_all(name).iter().map(axum::http::HeaderValue::as_bytes);
    SignatureHeaders::read(values(SIGNATURE_HEADER), values(TIMESTAMP_HEADER))
}

fn rejected(why: Rejection) -> HttpError {
    warn!(event = %LogEvent::WebhookRejected, error = why.code(), "refused a request to /webhook: {why}");
    HttpError::unauthorized(CHALLENGE, why.to_string())
}

fn log_delivery(verified: &Verified, observation: &Observation, recorded: &Recorded) {
    let log_event = match recorded.outcome {
        Outcome::Recorded => LogEvent::WebhookRecorded,
        Outcome::Duplicate => LogEvent::WebhookDuplicate,
        Outcome::Late => LogEvent::WebhookLate,
        Outcome::Unknown => LogEvent::WebhookUnknown,
    };
    info!(
        event = %log_event,
        webhook.r#type = observation.event_type().map(EventType::as_str),
        render.id = %observation.render_id(),
        render.kind = observation.kind().map(Kind::as_str),
        lag_ms = verified.delivery().lag_ms(),
        downloads.queued = recorded.queued,
        "recorded a delivery"
    );
    record::log_recorded(observation, recorded);
}
