//! Slows down guessing of tokens.
//!
//! Each client may fail a few times, then once every few seconds. All clients together have a larger allowance of their own, so that
//! one with many addresses is slowed down, too. What is used up comes back within seconds: nobody is locked out for long. Who has
//! logged in is not affected. Each process counts for itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many failures are allowed at once, and how long until one more is.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    failures: u32,
    refill: Duration,
}

const OF_CLIENT: Allowance = Allowance { failures: 10, refill: Duration::from_secs(6) };
const OF_ALL: Allowance = Allowance { failures: 200, refill: Duration::from_millis(500) };
/// How many clients are remembered at most.
const MAX_CLIENTS: usize = 10_000;

impl Allowance {
    /// How long it takes until the allowance is full again.
    fn window(self) -> Duration {
        self.refill * self.failures
    }
}

/// When an allowance is full again; in the past if it is full.
#[derive(Debug, Clone, Copy)]
struct Usage {
    whole_at: Instant,
}

impl Usage {
    /// Takes one failure, or says how long to wait.
    fn take(&mut self, allowance: Allowance, now: Instant) -> Result<(), Duration> {
        let after = self.whole_at.max(now) + allowance.refill;
        let excess = after.duration_since(now).saturating_sub(allowance.window());
        if excess.is_zero() {
            self.whole_at = after;
            Ok(())
        } else {
            Err(excess)
        }
    }

    fn give_back(&mut self, allowance: Allowance) {
        self.whole_at -= allowance.refill;
    }
}

/// What was used up.
#[derive(Debug)]
struct Usages {
    clients: HashMap<IpAddr, Usage>,
    all: Usage,
}

/// Counts failed logins.
#[derive(Debug)]
pub(super) struct LoginThrottle(Mutex<Usages>);

impl Default for LoginThrottle {
    fn default() -> Self {
        Self(Mutex::new(Usages { clients: HashMap::new(), all: Usage { whole_at: Instant::now() } }))
    }
}

impl LoginThrottle {
    /// Admits an attempt, which counts as a failure until [`succeeded`](Self::succeeded). Otherwise, how long to wait. Counted
    /// before the token is checked, so that many attempts at once are not all admitted.
    pub(super) fn admit(&self, client: IpAddr) -> Result<(), Duration> {
        let (mut usages, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let Usages { clients, all } = &mut *usages;
        if clients.len() >= MAX_CLIENTS {
            clients.retain(|_, usage| usage.whole_at > now);
        }
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&client) {
            return Err(OF_CLIENT.refill);
        }
        let of_client = clients.entry(client).or_insert(Usage { whole_at: now });
        of_client.take(OF_CLIENT, now)?;
        all.take(OF_ALL, now).inspect_err(|_| of_client.give_back(OF_CLIENT))
    }

    /// The attempt succeeded, so it does not count as a failure.
    pub(super) fn succeeded(&self, client: IpAddr) {
        let mut usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usages.all.give_back(OF_ALL);
        if let Some(usage) = usages.clients.get_mut(&client) {
            usage.give_back(OF_CLIENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_guesses_waits_and_others_do_not() {
        let throttle = LoginThrottle::default();
        for _ in 0..OF_CLIENT.failures {
            assert_eq!(throttle.admit(client(1)), Ok(()));
        }
        assert_eq!(throttle.admit(client(1)), Err(OF_CLIENT.refill));
        assert_eq!(throttle.admit(client(2)), Ok(()));
        tokio::time::advance(OF_CLIENT.refill).await;
        assert_eq!(throttle.admit(client(1)), Ok(()), "one more after a while");
        assert!(throttle.admit(client(1)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_does_not_count() {
        let throttle = LoginThrottle::default();
        for _ in 0..100 {
            assert_eq!(throttle.admit(client(1)), Ok(()));
            throttle.succeeded(client(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_are_slowed_down_together_and_only_for_a_moment() {
        let throttle = LoginThrottle::default();
        for number in 0..OF_ALL.failures {
            assert_eq!(throttle.admit(client(u8::try_from(number).unwrap())), Ok(()));
        }
        assert_eq!(throttle.admit(client(201)), Err(OF_ALL.refill));
        tokio::time::advance(OF_ALL.refill).await;
        assert_eq!(throttle.admit(client(201)), Ok(()));
    }
}
