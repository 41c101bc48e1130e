//! `docs/events.md` matches the program.

use renderhook::domain::Status;

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
