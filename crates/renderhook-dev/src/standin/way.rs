//! The way of a webhook from the stand-in to its receiver: straight, or over a network that loses, repeats and shuffles.
//!
//! A way says when the copies of a webhook set out. It depends on the webhook and a seed alone, so that a run that failed
//! can be run again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use renderhook::domain::EventType;

type Rule = dyn Fn(&EventType, &str) -> Vec<Duration> + Send + Sync;

/// A rule: after which delays the copies of a webhook set out, none of them if it is lost. Cheap to clone.
#[derive(Clone)]
pub struct Way(Arc<Rule>);

impl Way {
    /// Every webhook once and at once.
    #[must_use]
    pub fn straight() -> Self {
        Self::from_fn(|_, _| vec![Duration::ZERO])
    }

    /// As `rule` says of an event's type and the id of its render.
    pub fn from_fn(rule: impl Fn(&EventType, &str) -> Vec<Duration> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// A third is lost, a third comes twice, a third once, and every copy is up to `longest` late.
    #[must_use]
    pub fn rough(seed: u64, longest: Duration) -> Self {
        Self::from_fn(move |event_type, id| {
            let dice = Sha256::digest(format!("{seed} {event_type} {id}"));
            let late = |die: u8| longest.mul_f64(f64::from(die) / 255.0);
            match dice[0] % 3 {
                0 => vec![],
                1 => vec![late(dice[1]), late(dice[2])],
                _ => vec![late(dice[1])],
            }
        })
    }

    /// When the copies of this webhook set out.
    #[must_use]
    pub fn copies(&self, event_type: &EventType, id: &str) -> Vec<Duration> {
        (self.0)(event_type, id)
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use renderhook::domain::Action;
    use renderhook::domain::Kind;

    #[test]
    fn a_rough_way_loses_a_third_doubles_a_third_and_is_the_same_for_the_same_seed() {
        let event_type = EventType::new(Kind::Video, Action::Completed);
        let longest = Duration::from_secs(2);
        let copies = |seed| -> Vec<_> {
            let way = Way::rough(seed, longest);
            (0..900).map(|id| way.copies(&event_type, &id.to_string())).collect()
        };
        let sent = copies(7);
        for count in 0..3 {
            let share = sent.iter().filter(|copies| copies.len() == count).count();
            assert!((240..360).contains(&share), "{share} of 900 are sent {count} times");
        }
        assert!(sent.iter().flatten().all(|late| *late <= longest));
        assert_eq!(sent, copies(7));
        assert_ne!(sent, copies(8));
    }
}
