//! `docs/logs.md` matches the program.

use std::collections::BTreeSet;

use renderhook::runtime::LogEvent;

use super::tables::first_column;

const LOGS: &str = include_str!("../../../docs/logs.md");

#[test]
fn the_table_of_log_events_is_complete() {
    let events: BTreeSet<&str> = LogEvent::ALL.iter().map(|event| event.as_str()).collect();
    assert_eq!(first_column(LOGS, "| `event` | level | meaning |"), events);
}
