//! Faults of the API, on demand.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Method;
use chrono::TimeDelta;

/// What a call gets instead of a prompt and correct answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed without an answer.
    CloseConnection,
    /// An error answer.
    Status {
        /// Its status.
        status: u16,
        /// Its `Retry-After`, in seconds.
        retry_after: Option<u32>,
    },
    /// The correct answer, this late.
    Delay(Duration),
    /// The answer that was correct this long ago.
    StaleAnswer(TimeDelta),
}

impl Fault {
    /// An error answer with this status.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None }
    }
}

#[derive(Debug, Default)]
struct PlannedFaults {
    next: VecDeque<Fault>,
    always: Option<Fault>,
    by_project: HashMap<(Method, String), Fault>,
}

/// The faults to come. Cheap to clone: clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<PlannedFaults>>);

impl Faults {
    fn state(&self) -> MutexGuard<'_, PlannedFaults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls get these faults, one each.
    pub fn inject_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().next.extend(faults);
    }

    /// Every call gets this fault until [`Faults::clear`], after those of [`Faults::inject_next`].
    pub fn inject_always(&self, fault: Fault) {
        self.state().always = Some(fault);
    }

    /// Every call with this method about this project gets this fault until [`Faults::clear`], before all others.
    pub fn inject_for(&self, method: Method, id: &str, fault: Fault) {
        self.state().by_project.insert((method, id.to_owned()), fault);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        *self.state() = PlannedFaults::default();
    }

    /// The fault of the current call, with this method about this project.
    pub(super) fn take(&self, method: &Method, id: &str) -> Option<Fault> {
        let mut state = self.state();
        let by_project = state.by_project.get(&(method.clone(), id.to_owned())).cloned();
        by_project.or_else(|| state.next.pop_front()).or_else(|| state.always.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_for_the_next_calls_come_first_and_the_lasting_fault_stays_until_cleared() {
        let faults = Faults::default();
        let take = || faults.take(&Method::GET, "x");
        assert_eq!(take(), None);
        faults.inject_always(Fault::CloseConnection);
        faults.inject_next([Fault::status(402), Fault::Delay(Duration::from_secs(1))]);
        assert_eq!(take(), Some(Fault::status(402)));
        assert_eq!(take(), Some(Fault::Delay(Duration::from_secs(1))));
        assert_eq!(take(), Some(Fault::CloseConnection));
        assert_eq!(take(), Some(Fault::CloseConnection));
        faults.inject_for(Method::DELETE, "x", Fault::status(500));
        assert_eq!(take(), Some(Fault::CloseConnection));
        assert_eq!(faults.take(&Method::DELETE, "x"), Some(Fault::status(500)));
        faults.clear();
        assert_eq!(take(), None);
    }
}
