//! One budget of bytes for the whole process.
//!
//! Properties: the bytes of all [`Claim`]s together never exceed the budget; a claim that does not fit fails at once
//! instead of waiting; dropping a claim returns its bytes. Limits: the budget counts what its users report, not what
//! the allocator holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget. Cheap to clone; all clones share the same bytes.
#[derive(Debug, Clone)]
pub(super) struct MemoryBudget {
    total: usize,
    used: Arc<AtomicUsize>,
}

/// The budget is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for request bodies is exhausted")]
pub(super) struct Exhausted;

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub(super) fn new(total: usize) -> Self {
        Self { total, used: Arc::default() }
    }

    /// A claim to no bytes yet.
    #[must_use]
    pub(super) fn claim(&self) -> Claim {
        Claim { budget: self.clone(), bytes: 0 }
    }

    /// The bytes claimed now.
    #[must_use]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes taken from a budget, until the claim is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    budget: MemoryBudget,
    bytes: usize,
}

impl Claim {
    /// Raises the claim to `bytes`; a larger claim stays as it is.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        let fits = |used: usize| used.checked_add(more).filter(|&used| used <= self.budget.total);
        // OK to be relaxed: the counter guards no other memory.
        self.budget.used.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Exhausted)?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_fit_into_the_budget_or_fail_and_return_their_bytes() {
        let budget = MemoryBudget::new(10);
        let (mut first, mut second) = (budget.claim(), budget.claim());
        assert_eq!(first.grow_to(6), Ok(()));
        assert_eq!(first.grow_to(4), Ok(()), "a smaller claim changes nothing");
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
