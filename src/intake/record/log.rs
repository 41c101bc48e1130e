//! Logs the results of recording: transitions, conflicts, and errors that a person must handle.

use tracing::{error, info, warn};

use super::{Observation, Recorded, Source, StatusChange};
use crate::domain::{Kind, Status};
use crate::runtime::LogEvent;

/// Logs the result of recording an observation.
pub fn log_recorded(observation: &Observation, recorded: &Recorded) {
    log_transition(observation, recorded.transition);
    log_conflict(observation, recorded);
    log_shortage(observation, recorded.missing_files);
    if recorded.is_first_unknown_error {
        error!(
            event = %LogEvent::RenderMoved, render.id = %observation.render_id(), render.kind = observation.kind().map(Kind::as_str),
            error = "unknown_error",
            "the render failed with unknown_error: please report render {} to support@magichour.ai",
            observation.render_id()
        );
    }
}

fn log_shortage(observation: &Observation, missing: u32) {
    if missing > 0 {
        warn!(
            event = %LogEvent::RenderShort, render.id = %observation.render_id(), render.kind = observation.kind().map(Kind::as_str),
            files.missing = missing,
            "a complete render has fewer files than its image_count announces, and Magic Hour lists no more"
        );
    }
}

fn log_transition(observation: &Observation, transition: Option<StatusChange>) {
    let Some(StatusChange { from, to }) = transition else { return };
    info!(
        event = %LogEvent::RenderMoved, render.id = %observation.render_id(), render.kind = observation.kind().map(Kind::as_str),
        status.from = from.map(Status::as_str), status.to = to.as_str(), source = observation.source().as_str(), "the status of a render changed"
    );
}

/// Logs a contradiction: a render that has ended is reported to have ended differently.
fn log_conflict(observation: &Observation, recorded: &Recorded) {
    let (Some(before), Some(reported)) = (recorded.previous_failure, observation.status()) else { return };
    let message = match (recorded.transition, observation.source()) {
        (Some(_), _) if reported == Status::Complete => "a render that had failed or was canceled is complete",
        (Some(_), _) => "a poll reported a different final status of a render, which replaces the previous one",
        (None, Source::Webhook) if reported != before && reported.rank() == before.rank() => {
            "a webhook reported a different final status of a render; the first one stays unless a poll reports otherwise"
        }
        (None, _) => return,
    };
    warn!(
        event = %LogEvent::RenderConflict, render.id = %observation.render_id(), render.kind = observation.kind().map(Kind::as_str),
        status.from = before.as_str(), status.to = reported.as_str(), source = observation.source().as_str(), "{message}"
    );
}
