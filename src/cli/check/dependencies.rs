//! What the service depends on, all checked at once.

use std::time::Duration;

use super::line::{Finding, Line};
use super::{database, store, upstream};
use crate::config::Dependencies;
use crate::runtime::Clock;

/// How long a dependency may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn no_answer() -> Finding {
    Finding::fail(format!("no answer within {} s", PATIENCE.as_secs()))
}

/// Checks every dependency. The lines come in a fixed order.
pub(super) async fn check(dependencies: &Dependencies, clock: &Clock) -> Vec<Line> {
    let (database, store, upstream) = tokio::join!(
        database::check(dependencies, clock),
        store::check(dependencies.store.as_ref()),
        upstream::check(dependencies, clock),
    );
    let found = [
        ("database", database.database),
        ("durability", database.durability),
        ("store", store),
        ("api key", upstream.key),
        ("clock", upstream.clock),
        ("webhooks", database.webhooks),
    ];
    found.iter().map(|(name, finding)| Line::new(name, finding)).collect()
}
