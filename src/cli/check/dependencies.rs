//! Checks all dependencies at the same time.

use super::line::CheckLine;
use super::{database, listen, notify, store, upstream};
use crate::config::Dependencies;
use crate::runtime::Clock;

/// Checks every dependency. The order of the lines is fixed.
pub(super) async fn check(dependencies: &Dependencies, clock: &Clock) -> Vec<CheckLine> {
    let (database, store, upstream, notify, listen) = tokio::join!(
        database::check(dependencies, clock),
        store::check(dependencies.store.as_ref()),
        upstream::check(dependencies, clock),
        notify::check(dependencies, clock),
        listen::check(dependencies),
    );
    let mut found = vec![
        ("database".to_owned(), database.database),
        ("durability".to_owned(), database.durability),
        ("store".to_owned(), store),
    ];
    found.extend(key_names(upstream.keys.len()).zip(upstream.keys));
    found.extend([
        ("clock".to_owned(), upstream.clock),
        ("webhooks".to_owned(), database.webhooks),
        ("notifications".to_owned(), notify),
        ("listen address".to_owned(), listen.public),
    ]);
    found.extend(listen.api.map(|finding| ("api listen address".to_owned(), finding)));
    found.iter().map(|(name, finding)| CheckLine::new(name, finding)).collect()
}

/// Several keys are named by their positions.
fn key_names(count: usize) -> impl Iterator<Item = String> {
    (1..=count).map(move |position| if count == 1 { "api key".to_owned() } else { format!("api key {position}") })
}
