//! Words in a project's name that say how its render ends: pure code.
//!
//! An application under development can thus have a render that fails, with nothing but its own create call:
//!
//! | word | effect |
//! |---|---|
//! | `#fail`, `#fail:text_too_long` | it fails, with `no_source_face` or this code |
//! | `#cancel` | it is canceled, of which no webhook tells |
//! | `#time:30s` | it takes this long |
//! | `#silent` | no webhook reports it |
//!
//! Everything else in the name means nothing.

use chrono::TimeDelta;

use crate::standin::renders::Stage;

/// The error of a render that is to fail, unless another is named.
pub(in crate::standin) const DEFAULT_ERROR: &str = "no_source_face";

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameDirectives {
    /// The last stage.
    pub(super) end: Stage,
    /// How long the render takes, if it says so.
    pub(super) render_time: Option<TimeDelta>,
    /// Whether it sends no webhooks.
    pub(super) is_silent: bool,
}

impl NameDirectives {
    pub(super) fn read(name: &str) -> Self {
        let mut directives = Self { end: Stage::Complete, render_time: None, is_silent: false };
        for word in name.split_whitespace().filter_map(|word| word.strip_prefix('#')) {
            match word.split_once(':') {
                None if word == "fail" => directives.end = Stage::error(DEFAULT_ERROR),
                None if word == "cancel" => directives.end = Stage::Canceled,
                None if word == "silent" => directives.is_silent = true,
                Some(("fail", code)) => directives.end = Stage::error(code),
                Some(("time", time)) => directives.render_time = parse_time(time).or(directives.render_time),
                None | Some(_) => {}
            }
        }
        directives
    }
}

fn parse_time(text: &str) -> Option<TimeDelta> {
    TimeDelta::from_std(humantime::parse_duration(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_mean_something() {
        let seconds = |seconds| Some(TimeDelta::seconds(seconds));
        let table = [
            ("order-17", Stage::Complete, None, false),
            ("", Stage::Complete, None, false),
            ("my order #17 #failed #time #time:soon #cancel:now", Stage::Complete, None, false),
            ("order-17 #fail", Stage::error("no_source_face"), None, false),
            ("#fail:text_too_long order-17", Stage::error("text_too_long"), None, false),
            ("order-17 #cancel #time:1m30s", Stage::Canceled, seconds(90), false),
            ("order-17 #time:0s #silent", Stage::Complete, seconds(0), true),
        ];
        for (name, end, render_time, is_silent) in table {
            assert_eq!(NameDirectives::read(name), NameDirectives { end, render_time, is_silent }, "{name}");
        }
    }
}
