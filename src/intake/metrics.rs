//! The metrics of deliveries and of recording.

use std::time::Duration;

use super::record::{Observation, Recorded, Source};
use crate::domain::{DeliveryOutcome, Kind, Status};
use crate::runtime::{CounterFamily, DatabaseError, HistogramFamily, LabelValue, Metric, label_value};

/// The metrics of this room.
pub static METRICS: &[&dyn Metric] =
    &[&WEBHOOKS, &WEBHOOK_LAG, &BATCH_EVENTS, &RECORD_DURATION, &TRANSITIONS, &RENDER_DURATION];

/// What became of a request to `/webhook`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WebhookLabel {
    /// It is a delivery, and this became of it.
    Delivered(DeliveryOutcome),
    /// The signature or the timestamp is missing, malformed or wrong.
    Rejected,
    /// The body is larger than `MAX_BODY_BYTES`.
    TooLarge,
    /// The body did not arrive, or there was no memory for it.
    BodyFailed,
    /// It could not be stored: Magic Hour sends it again.
    Unavailable,
}

impl LabelValue for WebhookLabel {
    const NAME: &'static str = "outcome";

    fn all() -> Vec<Self> {
        let others = [Self::Rejected, Self::TooLarge, Self::BodyFailed, Self::Unavailable];
        DeliveryOutcome::ALL.into_iter().map(Self::Delivered).chain(others).collect()
    }

    fn value(self) -> &'static str {
        match self {
            Self::Delivered(outcome) => outcome.as_str(),
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::BodyFailed => "body_failed",
            Self::Unavailable => "unavailable",
        }
    }
}

label_value!(Source, "source");

pub(super) static WEBHOOKS: CounterFamily<(WebhookLabel,)> =
    CounterFamily::new("renderhook_webhooks_total", "Requests to /webhook by what became of them");

pub(super) static WEBHOOK_LAG: HistogramFamily<()> = HistogramFamily::new(
    "renderhook_webhook_lag_seconds",
    "Time from the signing of authentic deliveries to their arrival",
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0],
);

static BATCH_EVENTS: HistogramFamily<()> = HistogramFamily::new(
    "renderhook_record_batch_events",
    "Observations that were recorded in one transaction",
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
);

static RECORD_DURATION: HistogramFamily<()> = HistogramFamily::new(
    "renderhook_record_duration_seconds",
    "Time to record a batch, from its begin to its commit",
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0],
);

static TRANSITIONS: CounterFamily<(Kind, Status, Source)> =
    CounterFamily::new("renderhook_transitions_total", "Changes of a render's status to this one");

static RENDER_DURATION: HistogramFamily<(Kind,)> = HistogramFamily::new(
    "renderhook_render_duration_seconds",
    "Time from the creation of complete renders to the report that they are complete",
    &[5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10800.0, 86400.0],
);

/// Counts a batch that took `duration`.
pub(super) fn count_batch(
    observations: &[Observation],
    results: &[Result<Recorded, DatabaseError>],
    duration: Duration,
) {
    let events = u32::try_from(observations.len()).unwrap_or(u32::MAX);
    BATCH_EVENTS.observe((), events.into());
    RECORD_DURATION.observe((), duration.as_secs_f64());
    for (observation, recorded) in observations.iter().zip(results) {
        let Ok(recorded) = recorded else { continue };
        if let (Some(change), Some(kind)) = (recorded.transition, observation.kind()) {
            TRANSITIONS.add((kind, change.to, observation.source()), 1);
        }
        if let (Some(duration), Some(kind)) = (recorded.render_duration, observation.kind()) {
            RENDER_DURATION.observe((kind,), duration.as_seconds_f64().max(0.0));
        }
    }
}
