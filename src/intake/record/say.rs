//! What recording did, told to the log: moves, conflicts, and the errors that need someone.

use tracing::{error, info, warn};

use super::{Move, Observation, Recorded, Source};
use crate::domain::{Kind, Status};
use crate::runtime::LogEvent;

/// Tells what `word` did to its render.
pub fn say(word: &Observation, recorded: &Recorded) {
    say_moved(word, recorded.moved);
    say_conflict(word, recorded);
    if recorded.tells_unknown_error {
        error!(
            event = %LogEvent::RenderMoved, render.id = %word.render_id(), render.kind = word.kind().map(Kind::as_str),
            error = "unknown_error",
            "the render failed with unknown_error: please write to support@magichour.ai that render {} failed so, and ask why",
            word.render_id()
        );
    }
}

fn say_moved(word: &Observation, moved: Option<Move>) {
    let Some(Move { from, to }) = moved else { return };
    info!(
        event = %LogEvent::RenderMoved, render.id = %word.render_id(), render.kind = word.kind().map(Kind::as_str),
        status.from = from.map(Status::as_str), status.to = to.as_str(), source = word.source().as_str(), "a render moved"
    );
}

/// Tells of a render that had ended and is told to have ended otherwise.
fn say_conflict(word: &Observation, recorded: &Recorded) {
    let (Some(stood), Some(told)) = (recorded.stood, word.status()) else { return };
    let message = match (recorded.moved, word.source()) {
        (Some(_), _) if told == Status::Complete => "a render that had ended is complete after all",
        (Some(_), _) => "the details call tells another end of a render than the one that stood",
        (None, Source::Webhook) if told != stood && told.rank() == stood.rank() => {
            "a render is told to have ended otherwise: the first end stands, unless the details call says otherwise"
        }
        (None, _) => return,
    };
    warn!(
        event = %LogEvent::RenderConflict, render.id = %word.render_id(), render.kind = word.kind().map(Kind::as_str),
        status.from = stood.as_str(), status.to = told.as_str(), source = word.source().as_str(), "{message}"
    );
}
