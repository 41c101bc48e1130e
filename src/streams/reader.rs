//! Reads events from the database: the feed, together with its renders.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::archive::Store;
use crate::feed::{self, FeedCursor, FeedError, FeedFilter, FeedPage};
use crate::runtime::{Database, DatabaseError, REQUEST_TIMEOUT};
use crate::views::{self, EventView, RenderView};

/// Reads events. Its futures are small, because thousands of requests hold one.
#[derive(Debug, Clone)]
pub struct EventReader {
    /// The database.
    pub database: Database,
    /// Where the files of renders are.
    pub store: Store,
}

/// Some events, in the order of the feed.
#[derive(Debug)]
pub struct EventPage {
    /// The events.
    pub events: Vec<EventView>,
    /// Where to read on.
    pub next: FeedCursor,
    /// Whether there is nothing behind `next` yet.
    pub is_end: bool,
}

/// How much a page has at most.
#[derive(Debug, Clone, Copy)]
pub struct PageLimit {
    /// Events.
    pub events: usize,
    /// Files and transitions of the renders that it shows, unless its first event has more. Each event shows a whole
    /// render, so the number of events alone does not bound a page.
    pub weight: usize,
}

/// Why events cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Events after the cursor were removed, or the cursor belongs to another database.
    #[error("the cursor has expired")]
    Expired,
    /// The database failed, which has been logged.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
}

/// How long a page may take. A stream has more time than a request, but its heartbeat does not wait for it.
const TIMEOUT: Duration = REQUEST_TIMEOUT;

impl EventReader {
    /// A page of events after a cursor; without one, from the oldest that is kept.
    pub async fn page(
        &self,
        filter: &FeedFilter,
        after: Option<FeedCursor>,
        limit: PageLimit,
    ) -> Result<EventPage, ReadError> {
        let FeedPage { entries, next, is_end } = self.entries(filter, after, limit.events).await?;
        let ids = entries.iter().map(|entry| entry.render_id.as_str()).collect();
        let renders = self.renders(ids).await?;
        let weights = entries.iter().map(|entry| renders.get(&entry.render_id).map_or(0, RenderView::weight));
        let count = fitting(weights, limit.weight);
        let is_whole = count >= entries.len();
        let next = if is_whole { next } else { entries[count - 1].cursor };
        let events = entries.into_iter().take(count).map(|entry| EventView::new(entry, &renders)).collect();
        Ok(EventPage { events, next, is_end: is_end && is_whole })
    }

    /// The end of the feed.
    pub(super) async fn end(&self) -> Result<FeedCursor, DatabaseError> {
        let end = FeedPage::at_end(self.database.pool());
        Ok(Box::pin(self.database.with_timeout(TIMEOUT, end)).await?.next)
    }

    /// Entries of the feed, without their renders.
    pub(super) async fn entries(
        &self,
        filter: &FeedFilter,
        after: Option<FeedCursor>,
        limit: usize,
    ) -> Result<FeedPage, ReadError> {
        let page = async {
            match feed::read(self.database.pool(), filter, after, limit).await {
                Ok(page) => Ok(Some(page)),
                Err(FeedError::Expired) => Ok(None),
                Err(FeedError::Database(error)) => Err(error),
            }
        };
        Box::pin(self.database.with_timeout(TIMEOUT, page)).await?.ok_or(ReadError::Expired)
    }

    /// The renders with these ids, which are read with one statement.
    pub(super) async fn renders(&self, ids: HashSet<&str>) -> Result<HashMap<String, RenderView>, DatabaseError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<_> = ids.into_iter().collect();
        let renders = views::renders(self.database.pool(), &self.store, &ids);
        Box::pin(self.database.with_timeout(TIMEOUT, renders)).await
    }
}

/// How many events of these weights fit into a page: at least one.
fn fitting(weights: impl Iterator<Item = usize>, max: usize) -> usize {
    let total = weights.scan(0_usize, |total, weight| {
        *total = total.saturating_add(weight);
        Some(*total)
    });
    total.take_while(|total| *total <= max).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_before_the_event_that_makes_it_too_heavy_but_has_at_least_one() {
        for (weights, expected) in [(vec![1, 1, 1], 3), (vec![4, 6, 1], 2), (vec![11, 1], 1), (vec![10], 1)] {
            assert_eq!(fitting(weights.into_iter(), 10), expected);
        }
    }
}
