//! A memory budget for the whole process.
//!
//! Guaranteed: all [`Reservation`]s together never exceed the budget; a reservation that does not fit fails at once; a
//! dropped reservation returns its bytes. The budget counts the bytes that its users report, which may differ from what the
//! allocator uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A memory budget. Cheap to clone; all clones share the same bytes.
#[derive(Debug, Clone)]
pub(super) struct MemoryBudget {
    total: usize,
    used: Arc<AtomicUsize>,
}

/// The error for a reservation that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for request bodies is exhausted")]
pub(super) struct Exhausted;

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub(super) fn new(total: usize) -> Self {
        Self { total, used: Arc::default() }
    }

    /// A reservation of zero bytes, to be grown.
    #[must_use]
    pub(super) fn reserve(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// The number of reserved bytes.
    #[must_use]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes reserved from a budget. Dropping it returns them.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Reservation {
    /// Grows the reservation to `bytes`. A larger reservation stays as it is.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        let fits = |used: usize| used.checked_add(more).filter(|&used| used <= self.budget.total);
        // Relaxed is enough, because the counter guards no other memory.
        self.budget.used.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Exhausted)?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_fits_the_budget_or_fails_and_returns_its_bytes_when_dropped() {
        let budget = MemoryBudget::new(10);
        let (mut first, mut second) = (budget.reserve(), budget.reserve());
        assert_eq!(first.grow_to(6), Ok(()));
        assert_eq!(first.grow_to(4), Ok(()), "a smaller size changes nothing");
        assert_eq!(second.grow_to(5), Err(Exhausted));
        assert_eq!(second.grow_to(4), Ok(()));
        assert_eq!(second.grow_to(usize::MAX), Err(Exhausted));
        assert_eq!(budget.used(), 10);
        drop(first);
        assert_eq!(budget.used(), 4);
        assert_eq!(second.grow_to(10), Ok(()));
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
