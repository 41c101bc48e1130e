//! `docs/logs.md` matches the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use renderhook::runtime::LogEvent;

use super::tables::first_column;
use super::{code, files};

const LOGS: &str = include_str!("../../../docs/logs.md");

#[test]
fn the_table_of_log_events_is_complete() {
    let events: BTreeSet<&str> = LogEvent::ALL.iter().map(|event| event.as_str()).collect();
    assert_eq!(first_column(LOGS, "| `event` | level | meaning |"), events);
}

/// The arguments of a macro, whose text begins after its parenthesis.
fn arguments(text: &str) -> Vec<&str> {
    let (mut arguments, mut begin, mut depth, mut is_quoted, mut is_escaped) = (Vec::new(), 0, 0, false, false);
    for (at, next) in text.char_indices() {
        match next {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            ')' if depth == 0 => {
                arguments.push(&text[begin..at]);
                break;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    arguments.into_iter().map(str::trim).collect()
}

/// The name in `name = value`, or of a variable that is a field by itself.
fn field(argument: &str) -> Option<String> {
    let name = argument.split_once(" = ").map_or(argument, |(name, _)| name);
    let is_name = |name: &str| name.chars().all(|next| next.is_ascii_lowercase() || "._#".contains(next));
    (is_name(name) && !name.is_empty()).then(|| name.replace("r#", ""))
}

/// The fields of every line with an event, and of every span, in a source.
fn fields(text: &str) -> BTreeSet<String> {
    let lines = ["error!(", "warn!(", "info!(", "debug!(", "$level!("];
    let lines = lines.iter().flat_map(|name| text.split(name).skip(1)).map(arguments);
    let lines = lines.filter(|arguments| arguments.first().is_some_and(|it| it.starts_with("event = ")));
    let of_lines = lines.flat_map(|arguments| {
        // What follows the message are its own arguments.
        arguments.into_iter().skip(1).take_while(|it| !it.starts_with('"')).filter_map(field)
    });
    let of_spans = text.split("_span!(").skip(1).flat_map(|rest| arguments(rest).into_iter().skip(1).filter_map(field));
    of_lines.chain(of_spans).filter(|name| !name.starts_with("otel.")).collect()
}

#[test]
fn the_table_of_the_fields_of_the_log_is_complete() {
    let mut used = BTreeSet::new();
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "rs") {
        let text = fs::read_to_string(&file).expect("its text");
        used.extend(fields(text.split("#[cfg(test)]").next().unwrap_or_default()));
    }
    let rows = LOGS.lines().skip_while(|line| *line != "| field | in | is |").skip(2);
    let names = rows.take_while(|line| line.starts_with('|')).filter_map(|row| row.split('|').nth(1));
    let documented: BTreeSet<String> = names.flat_map(code).map(str::to_owned).collect();
    assert_eq!(documented, used);
}
