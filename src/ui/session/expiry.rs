//! Removes the rows of sessions that have expired. Nothing depends on it: an expired session is not accepted.

use std::time::Duration;

use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, Shutdown};
use crate::ui::queries;

/// How often expired sessions are removed.
const INTERVAL: Duration = Duration::from_hours(1);

/// Removes expired sessions, until the service stops.
pub async fn run_session_expiry(database: &Database, clock: &Clock, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let removed = queries::remove_expired(database.pool(), clock.now());
        // OK to ignore: the next run tries again.
        let _ = database.with_timeout(BACKGROUND_TIMEOUT, removed).await;
        shutdown.sleep(INTERVAL).await;
    }
}
