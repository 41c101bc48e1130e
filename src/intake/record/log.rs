//! What recording did, for the log: transitions, conflicts, and the errors that need a person.

use tracing::{error, info, warn};

use super::{Move, Observation, Recorded, Source};
use crate::domain::{Kind, Status};
use crate::runtime::LogEvent;

/// Logs what an observation did to its render.
pub fn log_recorded(observation: &Observation, recorded: &Recorded) {
    log_transition(observation, recorded.moved);
    log_conflict(observation, recorded);
    if recorded.tells_unknown_error {
        error!(
            event = %LogEvent::RenderMoved, render.id = %observation.render_id(), render.kind = observation.kind().map(Kind::as_str),
            error = "unknown_error",
            "the render failed with unknown_error: please write to support@magichour.ai that render {} failed so, and ask why",
            observation.render_id()
        );
    }
}

fn log_transition(observation: &Observation, moved: Option<Move>) {
    let Some(Move { from, to }) = moved else { return };
    info!(
        event = %LogEvent::RenderMoved, render.id = %observation.render_id(), render.kind = observation.kind().map(Kind::as_str),
        status.from = from.map(Status::as_str), status.to = to.as_str(), source = observation.source().as_str(), "a render moved"
    );
}

/// Logs that a render which had ended is said to have ended otherwise.
fn log_conflict(observation: &Observation, recorded: &Recorded) {
    let (Some(stood), Some(told)) = (recorded.stood, observation.status()) else { return };
    let message = match (recorded.moved, observation.source()) {
        (Some(_), _) if told == Status::Complete => "a render that had ended is complete after all",
        (Some(_), _) => "the details call tells another end of a render than the one that stood",
        (None, Source::Webhook) if told != stood && told.rank() == stood.rank() => {
            "a render is told to have ended otherwise: the first end stands, unless the details call says otherwise"
        }
        (None, _) => return,
    };
    warn!(
        event = %LogEvent::RenderConflict, render.id = %observation.render_id(), render.kind = observation.kind().map(Kind::as_str),
        status.from = stood.as_str(), status.to = told.as_str(), source = observation.source().as_str(), "{message}"
    );
}
