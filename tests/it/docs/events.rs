//! The statuses, states and types in the docs are those of the program.

use std::collections::BTreeSet;

use renderhook::domain::{ArchiveState, NotificationType, Status};

use super::tables::first_column;

const EVENTS: &str = include_str!("../../../docs/events.md");

/// The cells of a row after its first one.
fn cells(first: &str) -> Vec<&'static str> {
    let row = EVENTS.lines().find_map(|line| line.strip_prefix(&format!("| {first} |"))).expect("the row");
    row.trim_end_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn the_table_of_statuses_has_every_rank() {
    let statuses = cells("status").into_iter().map(|cell| cell.split(", ").map(|name| name.trim_matches('`')));
    let ranks = cells("rank").into_iter().map(|cell| cell.parse::<i16>().expect("a rank"));
    let documented: Vec<_> =
        statuses.zip(ranks).flat_map(|(names, rank)| names.map(move |name| (name, rank))).collect();
    assert_eq!(documented, Status::ALL.map(|status| (status.as_str(), status.rank())));
}

#[test]
fn the_table_of_archive_states_is_complete() {
    let page = include_str!("../../../docs/http-api.md");
    assert_eq!(
        first_column(page, "| `archive` | means |"),
        BTreeSet::from(ArchiveState::ALL.map(ArchiveState::as_str))
    );
}

#[test]
fn the_table_of_notifications_is_complete() {
    let page = include_str!("../../../docs/notifications.md");
    let posted: BTreeSet<&str> =
        NotificationType::ALL.into_iter().filter(|it| it.can_be_posted()).map(NotificationType::as_str).collect();
    assert_eq!(first_column(page, "| `type` | when |"), posted);
}
