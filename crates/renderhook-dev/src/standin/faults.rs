//! Faults of the API, on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
struct State {
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

/// The faults to come. Cheap to clone: clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
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

    /// Removes all faults.
    pub fn clear(&self) {
        *self.state() = State::default();
    }

    /// The fault of the current call.
    pub(super) fn take(&self) -> Option<Fault> {
        let mut state = self.state();
        state.next.pop_front().or_else(|| state.always.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_for_the_next_calls_come_first_and_the_lasting_fault_stays_until_cleared() {
        let faults = Faults::default();
        assert_eq!(faults.take(), None);
        faults.inject_always(Fault::CloseConnection);
        faults.inject_next([Fault::status(402), Fault::Delay(Duration::from_secs(1))]);
        assert_eq!(faults.take(), Some(Fault::status(402)));
        assert_eq!(faults.take(), Some(Fault::Delay(Duration::from_secs(1))));
        assert_eq!(faults.take(), Some(Fault::CloseConnection));
        assert_eq!(faults.take(), Some(Fault::CloseConnection));
        faults.clear();
        assert_eq!(faults.take(), None);
    }
}
