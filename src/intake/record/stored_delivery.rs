//! A stored delivery that can be replayed.

use bytes::Bytes;
use chrono::{DateTime, Utc};

/// A stored delivery that was verified at arrival, but was unreadable or unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    pub(super) id: i64,
    pub(super) sent_at: Option<DateTime<Utc>>,
    pub(super) received_at: DateTime<Utc>,
    pub(super) lag_ms: Option<i64>,
    pub(super) body: Bytes,
}

impl StoredDelivery {
    /// The id, ascending in the order of arrival.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// When it arrived.
    #[must_use]
    pub fn received_at(&self) -> DateTime<Utc> {
        self.received_at
    }
}
