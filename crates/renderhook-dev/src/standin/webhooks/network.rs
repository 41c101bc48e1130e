//! The network between the stand-in and the webhooks' receiver: reliable, or one that loses, repeats and delays.
//!
//! What happens to a webhook depends only on the webhook and a seed, so a failed test can be repeated.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use renderhook::domain::EventType;
use sha2::{Digest, Sha256};

type Rule = dyn Fn(&EventType, &str) -> Vec<Duration> + Send + Sync;

/// A rule that gives the delay of each copy of a webhook; no copies means that it is lost. Cheap to clone.
#[derive(Clone)]
pub struct Network(Arc<Rule>);

impl Network {
    /// Delivers every webhook once and without delay.
    #[must_use]
    pub fn reliable() -> Self {
        Self::from_fn(|_, _| vec![Duration::ZERO])
    }

    /// A rule of the event's type and the project's id.
    pub fn from_fn(rule: impl Fn(&EventType, &str) -> Vec<Duration> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// Loses a third, sends a third twice and a third once, and delays each copy by up to `max_delay`.
    #[must_use]
    pub fn unreliable(seed: u64, max_delay: Duration) -> Self {
        Self::from_fn(move |event_type, id| {
            let random = Sha256::digest(format!("{seed} {event_type} {id}"));
            let delay = |byte: u8| max_delay.mul_f64(f64::from(byte) / 255.0);
            match random[0] % 3 {
                0 => vec![],
                1 => vec![delay(random[1]), delay(random[2])],
                _ => vec![delay(random[1])],
            }
        })
    }

    /// The delays of the copies of a webhook.
    #[must_use]
    pub fn copies(&self, event_type: &EventType, id: &str) -> Vec<Duration> {
        (self.0)(event_type, id)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

#[cfg(test)]
mod tests {
    use renderhook::domain::{Action, Kind};

    use super::*;

    #[test]
    fn an_unreliable_network_loses_a_third_repeats_a_third_and_follows_its_seed() {
        let event_type = EventType::new(Kind::Video, Action::Completed);
        let max_delay = Duration::from_secs(2);
        let copies = |seed| -> Vec<_> {
            let network = Network::unreliable(seed, max_delay);
            (0..900).map(|id| network.copies(&event_type, &id.to_string())).collect()
        };
        let sent = copies(7);
        for count in 0..3 {
            let share = sent.iter().filter(|copies| copies.len() == count).count();
            assert!((240..360).contains(&share), "{share} of 900 are sent {count} times");
        }
        assert!(sent.iter().flatten().all(|delay| *delay <= max_delay));
        assert_eq!(sent, copies(7));
        assert_ne!(sent, copies(8));
    }
}
