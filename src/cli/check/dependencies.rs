//! Checks all dependencies at the same time.

use super::line::CheckLine;
use super::{database, notify, store, upstream};
use crate::config::Dependencies;
use crate::runtime::Clock;

/// Checks every dependency. The order of the lines is fixed.
pub(super) async fn check(dependencies: &Dependencies, clock: &Clock) -> Vec<CheckLine> {
    let (database, store, upstream, notify) = tokio::join!(
        database::check(dependencies, clock),
        store::check(dependencies.store.as_ref()),
        upstream::check(dependencies, clock),
        notify::check(dependencies, clock),
    );
    let found = [
        ("database", database.database),
        ("durability", database.durability),
        ("store", store),
        ("api key", upstream.key),
        ("clock", upstream.clock),
        ("webhooks", database.webhooks),
        ("notifications", notify),
    ];
    found.iter().map(|(name, finding)| CheckLine::new(name, finding)).collect()
}
