//! `docs/logs.md` matches the program.

use std::collections::BTreeSet;

use renderhook::runtime::LogEvent;

use super::tables::first_column;

const LOGS: &str = include_str!("../../../docs/logs.md");

#[test]
fn every_log_event_has_a_row_and_every_row_is_a_log_event() {
    let events: BTreeSet<&str> = LogEvent::ALL.iter().map(|event| event.as_str()).collect();
    assert_eq!(first_column(LOGS, "| `event` | level | meaning |"), events);
}
