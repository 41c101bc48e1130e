//! Syncs of one folder, shared: a sync that began after a call serves that call, so those that wait share the next one.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The syncs of one folder.
#[derive(Debug, Default)]
pub(super) struct SharedSync {
    state: Mutex<SyncState>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct SyncState {
    /// How many syncs have begun.
    begun: u64,
    /// Whether the last one that began still runs.
    running: bool,
    /// The number of the last sync that ended.
    ended: u64,
    /// Its error.
    error: Option<io::Error>,
}

impl SharedSync {
    /// Returns once a sync has ended that began after this call. If none of those that wait does so already, this one
    /// calls `sync`.
    pub(super) fn run(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.lock();
        let needed = state.begun + 1;
        while state.running && state.ended < needed {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // One that began later serves as well.
        if state.ended >= needed {
            return state.error.as_ref().map_or(Ok(()), |error| Err(shared(error)));
        }
        state.begun += 1;
        state.running = true;
        let unfinished = Some(io::Error::other("the sync did not end"));
        let mut running = RunningSync { syncs: self, number: state.begun, error: unfinished };
        drop(state);
        let result = sync();
        running.error = result.as_ref().err().map(shared);
        result
    }

    fn lock(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sync that runs. It has ended once this is dropped, also by a panic.
struct RunningSync<'a> {
    syncs: &'a SharedSync,
    number: u64,
    error: Option<io::Error>,
}

impl Drop for RunningSync<'_> {
    fn drop(&mut self) {
        let mut state = self.syncs.lock();
        (state.running, state.ended, state.error) = (false, self.number, self.error.take());
        drop(state);
        self.syncs.ended.notify_all();
    }
}

/// An error for another one of those that waited.
fn shared(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn what_was_done_before_a_call_is_synced_when_it_returns() {
        const THREADS: usize = 8;
        let syncs = SharedSync::default();
        let (done, synced) = ([const { AtomicBool::new(false) }; THREADS], [const { AtomicBool::new(false) }; THREADS]);
        let sync = || {
            let seen: Vec<_> = done.iter().map(|it| it.load(Ordering::SeqCst)).collect();
            thread::yield_now();
            seen.into_iter().zip(&synced).for_each(|(seen, it)| it.store(seen, Ordering::SeqCst));
            Ok(())
        };
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (syncs, done, synced) = (&syncs, &done[number], &synced[number]);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        done.store(true, Ordering::SeqCst);
                        syncs.run(sync).unwrap();
                        assert!(synced.load(Ordering::SeqCst));
                        // What is undone here may still be seen by the sync that runs, but not by one that begins later.
                        done.store(false, Ordering::SeqCst);
                        syncs.run(sync).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn an_error_is_returned_to_each_that_waited_for_this_sync_and_to_no_later_one() {
        let syncs = SharedSync::default();
        let full = || io::Error::from_raw_os_error(28);
        thread::scope(|scope| {
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| syncs.run(|| Err(full())))).collect();
            for caller in callers {
                assert_eq!(caller.join().unwrap().unwrap_err().raw_os_error(), Some(28));
            }
        });
        syncs.run(|| Ok(())).unwrap();
        assert_eq!(syncs.run(|| Err(io::Error::other("why"))).unwrap_err().to_string(), "why");
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let syncs = SharedSync::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| syncs.run(|| panic!("in a sync"))));
        assert!(panicked.is_err());
        syncs.run(|| Ok(())).unwrap();
    }
}
