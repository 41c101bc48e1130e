//! Webhooks, sent as Magic Hour sends them.
//!
//! Each copy of a webhook is signed and posted until it is answered with 2xx. What is refused or not answered within 10
//! s is sent again after 1 s, 2 s, 4 s and so on, and given up once the next attempt would come later than 24 hours
//! after the first. Tests have another second: the unit of these times is a setting.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use secrecy::SecretString;
use url::Url;

use super::account::{Account, Outcome, Sent};
use super::projects::Announcement;
use super::sender::Delivery;
use super::way::Way;
use renderhook::runtime::Clock;

/// For how many units an event is sent again: a day of seconds.
const DAY: u32 = 24 * 60 * 60;

/// What a repetition is signed with. Magic Hour does not document which of the two it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signing {
    /// The time of the repetition.
    #[default]
    Afresh,
    /// The time of the first attempt.
    Once,
}

/// How what was not taken is sent again.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// The first gap, and the unit of all others.
    pub unit: Duration,
    /// What repetitions are signed with.
    pub signing: Signing,
}

impl Default for Retries {
    fn default() -> Self {
        Self { unit: Duration::from_secs(1), signing: Signing::default() }
    }
}

impl Retries {
    /// The gaps before the second attempt, the third and so on, up to the last attempt.
    fn gaps(self) -> impl Iterator<Item = Duration> {
        let gaps = (0..u32::BITS).map(|doublings| 1_u32 << doublings);
        let sent_at = |sum: &mut u32, gap: u32| {
            *sum = sum.saturating_add(gap);
            (*sum <= DAY).then_some(gap)
        };
        gaps.scan(0, sent_at).map(move |gap| self.unit * gap)
    }
}

/// The sender. Cheap to clone; what it has under way ends with the runtime.
#[derive(Debug, Clone)]
pub struct Webhooks {
    client: Client,
    clock: Clock,
    secret: SecretString,
    retries: Retries,
    account: Account,
    receiver: Arc<Mutex<Option<Url>>>,
    way: Arc<Mutex<Way>>,
}

impl Webhooks {
    pub(super) fn new(clock: Clock, secret: SecretString, retries: Retries, account: Account) -> reqwest::Result<Self> {
        let client = Client::builder().no_proxy().build()?;
        let way = Arc::new(Mutex::new(Way::straight()));
        Ok(Self { client, clock, secret, retries, account, receiver: Arc::default(), way })
    }

    /// Where webhooks are posted to from now on, what is sent again included. `None`: nobody is there to answer.
    pub fn post_to(&self, receiver: Option<Url>) {
        *self.receiver.lock().unwrap_or_else(PoisonError::into_inner) = receiver;
    }

    /// Webhooks of what happens from now on go this way.
    pub fn go(&self, way: Way) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    /// Sends a webhook, each of its copies by itself.
    pub(super) fn send(&self, announcement: Announcement) {
        let way = self.way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let copies = way.copies(&announcement.event_type, &announcement.id);
        if copies.is_empty() {
            self.enter(&announcement, 1, Outcome::Lost);
        }
        let announcement = Arc::new(announcement);
        for late in copies {
            let (webhooks, announcement) = (self.clone(), announcement.clone());
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                webhooks.see_through(&announcement).await;
            });
        }
    }

    /// Posts one copy until it is taken or given up.
    async fn see_through(&self, announcement: &Announcement) {
        let mut delivery = self.sign(announcement);
        let mut gaps = self.retries.gaps();
        for attempt in 1.. {
            if self.post(announcement, &delivery, attempt).await {
                return;
            }
            let Some(gap) = gaps.next() else { return };
            tokio::time::sleep(gap).await;
            if self.retries.signing == Signing::Afresh {
                delivery = self.sign(announcement);
            }
        }
    }

    fn sign(&self, announcement: &Announcement) -> Delivery {
        Delivery::sign(&self.secret, self.clock.now().timestamp().to_string(), announcement.body.clone())
    }

    /// Posts it once. Whether it was taken.
    async fn post(&self, announcement: &Announcement, delivery: &Delivery, attempt: u32) -> bool {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = match receiver {
            Some(receiver) => delivery.post(&self.client, &receiver).await.ok(),
            None => None,
        };
        let is_taken = answer.as_ref().is_some_and(|answer| answer.status.is_success());
        let outcome = match answer {
            Some(answer) => Outcome::Answered(delivery.clone(), answer),
            None => Outcome::Unanswered(delivery.clone()),
        };
        self.enter(announcement, attempt, outcome);
        is_taken
    }

    fn enter(&self, announcement: &Announcement, attempt: u32, outcome: Outcome) {
        let (event_type, id) = (announcement.event_type.clone(), announcement.id.clone());
        self.account.posted(Sent { at: self.clock.now(), event_type, id, attempt, outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_double_and_the_last_attempt_comes_within_a_day_of_the_first() {
        let gaps: Vec<_> = Retries::default().gaps().collect();
        assert_eq!(gaps[..4], [1, 2, 4, 8].map(Duration::from_secs));
        let total: Duration = gaps.iter().sum();
        assert!(total <= Duration::from_hours(24) && total * 2 > Duration::from_hours(24), "{total:?}");
        let quick = Retries { unit: Duration::from_millis(10), ..Retries::default() };
        assert_eq!(quick.gaps().count(), gaps.len());
        assert_eq!(quick.gaps().nth(2), Some(Duration::from_millis(40)));
    }
}
