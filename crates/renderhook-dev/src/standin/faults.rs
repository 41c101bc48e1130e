//! What the API does wrong, on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;

/// What a call meets in the place of a good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed without a word.
    HangsUp,
    /// It is refused.
    Refuses {
        /// With this status.
        status: u16,
        /// And so many seconds in `Retry-After`.
        retry_after: Option<u32>,
    },
    /// The answer is good and comes so late.
    Dawdles(Duration),
    /// The answer tells what was true so long ago.
    Lags(TimeDelta),
}

impl Fault {
    /// A refusal with this status.
    #[must_use]
    pub const fn refuses(status: u16) -> Self {
        Self::Refuses { status, retry_after: None }
    }
}

#[derive(Debug, Default)]
struct State {
    next: VecDeque<Fault>,
    lasting: Option<Fault>,
}

/// The faults that calls will meet: those for the next calls first, one each, then the lasting one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls meet these, one each.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().next.extend(faults);
    }

    /// Every call meets this one until [`Faults::heal`].
    pub fn last(&self, fault: Fault) {
        self.state().lasting = Some(fault);
    }

    /// Nothing is wrong from now on.
    pub fn heal(&self) {
        *self.state() = State::default();
    }

    /// What this call meets.
    pub(super) fn meet(&self) -> Option<Fault> {
        let mut state = self.state();
        state.next.pop_front().or_else(|| state.lasting.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_calls_meet_their_own_faults_and_the_others_the_lasting_one_until_it_is_healed() {
        let faults = Faults::default();
        assert_eq!(faults.meet(), None);
        faults.last(Fault::HangsUp);
        faults.next([Fault::refuses(402), Fault::Dawdles(Duration::from_secs(1))]);
        assert_eq!(faults.meet(), Some(Fault::refuses(402)));
        assert_eq!(faults.meet(), Some(Fault::Dawdles(Duration::from_secs(1))));
        assert_eq!(faults.meet(), Some(Fault::HangsUp));
        assert_eq!(faults.meet(), Some(Fault::HangsUp));
        faults.heal();
        assert_eq!(faults.meet(), None);
    }
}
