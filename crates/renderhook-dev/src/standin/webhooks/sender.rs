//! Sends webhooks as Magic Hour does.
//!
//! Each copy of a webhook is signed and posted until it is answered with 2xx. An attempt that is refused or not
//! answered within 10 s is retried after 1 s, 2 s, 4 s and so on, for up to 24 hours after the first attempt. Tests
//! shorten these times by setting their unit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use renderhook::runtime::Clock;
use reqwest::Client;
use secrecy::SecretString;
use url::Url;

use super::network::Network;
use super::signed_request::SignedRequest;
use crate::standin::call_log::{CallLog, WebhookAttempt, WebhookOutcome};
use crate::standin::renders::Webhook;

/// How long a webhook is retried, in units: a day of seconds.
const RETRY_UNITS: u32 = 24 * 60 * 60;

/// How a retry is signed. Magic Hour does not document which of the two it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetrySigning {
    /// With the time of the retry.
    #[default]
    Fresh,
    /// With the time of the first attempt.
    Original,
}

/// How webhooks are retried.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// The first delay; the others are multiples of it.
    pub unit: Duration,
    /// How a retry is signed.
    pub signing: RetrySigning,
}

impl Default for Retries {
    fn default() -> Self {
        Self { unit: Duration::from_secs(1), signing: RetrySigning::default() }
    }
}

impl Retries {
    /// The delays before the second attempt, the third and so on, up to the last.
    fn delays(self) -> impl Iterator<Item = Duration> {
        let units = (0..u32::BITS).map(|doublings| 1_u32 << doublings);
        let within_limit = |total: &mut u32, units: u32| {
            *total = total.saturating_add(units);
            (*total <= RETRY_UNITS).then_some(units)
        };
        units.scan(0, within_limit).map(move |units| self.unit * units)
    }
}

/// The sender. Cheap to clone; its tasks end with the runtime.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    client: Client,
    clock: Clock,
    secret: SecretString,
    retries: Retries,
    call_log: CallLog,
    receiver: Arc<Mutex<Option<Url>>>,
    network: Arc<Mutex<Network>>,
}

impl WebhookSender {
    pub(in crate::standin) fn new(
        clock: Clock,
        secret: SecretString,
        retries: Retries,
        call_log: CallLog,
    ) -> reqwest::Result<Self> {
        let client = Client::builder().no_proxy().build()?;
        let network = Arc::new(Mutex::new(Network::reliable()));
        Ok(Self { client, clock, secret, retries, call_log, receiver: Arc::default(), network })
    }

    /// Sets the URL for every attempt from now on, retries included. With `None` no attempt is answered.
    pub fn set_receiver(&self, receiver: Option<Url>) {
        *self.receiver.lock().unwrap_or_else(PoisonError::into_inner) = receiver;
    }

    /// The URL that webhooks are posted to.
    #[must_use]
    pub fn receiver(&self) -> Option<Url> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the network for new webhooks.
    pub fn set_network(&self, network: Network) {
        *self.network.lock().unwrap_or_else(PoisonError::into_inner) = network;
    }

    /// Sends a webhook in the background, each of its copies independently.
    pub(in crate::standin) fn send(&self, webhook: Webhook) {
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let copies = network.copies(&webhook.event_type, &webhook.id);
        if copies.is_empty() {
            self.log(&webhook, 1, WebhookOutcome::Lost);
        }
        let webhook = Arc::new(webhook);
        for delay in copies {
            let (sender, webhook) = (self.clone(), webhook.clone());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                sender.send_with_retries(&webhook).await;
            });
        }
    }

    async fn send_with_retries(&self, webhook: &Webhook) {
        let mut delivery = self.sign(webhook);
        let mut delays = self.retries.delays();
        for attempt in 1.. {
            if self.post(webhook, &delivery, attempt).await {
                return;
            }
            let Some(delay) = delays.next() else { return };
            tokio::time::sleep(delay).await;
            if self.retries.signing == RetrySigning::Fresh {
                delivery = self.sign(webhook);
            }
        }
    }

    fn sign(&self, webhook: &Webhook) -> SignedRequest {
        SignedRequest::sign(&self.secret, self.clock.now().timestamp().to_string(), webhook.body.clone())
    }

    /// Posts it once. Returns whether it was accepted.
    async fn post(&self, webhook: &Webhook, delivery: &SignedRequest, attempt: u32) -> bool {
        let answer = match self.receiver() {
            Some(receiver) => delivery.post(&self.client, &receiver).await.ok(),
            None => None,
        };
        let is_accepted = answer.as_ref().is_some_and(|answer| answer.status.is_success());
        let outcome = match answer {
            Some(answer) => WebhookOutcome::Answered(delivery.clone(), answer),
            None => WebhookOutcome::Unanswered(delivery.clone()),
        };
        self.log(webhook, attempt, outcome);
        is_accepted
    }

    fn log(&self, webhook: &Webhook, attempt: u32, outcome: WebhookOutcome) {
        let (event_type, id) = (webhook.event_type.clone(), webhook.id.clone());
        self.call_log.add_webhook(WebhookAttempt { at: self.clock.now(), event_type, id, attempt, outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delays_double_and_end_within_a_day() {
        let delays: Vec<_> = Retries::default().delays().collect();
        assert_eq!(delays[..4], [1, 2, 4, 8].map(Duration::from_secs));
        let total: Duration = delays.iter().sum();
        assert!(total <= Duration::from_hours(24) && total * 2 > Duration::from_hours(24), "{total:?}");
        let short = Retries { unit: Duration::from_millis(10), ..Retries::default() };
        assert_eq!(short.delays().count(), delays.len());
        assert_eq!(short.delays().nth(2), Some(Duration::from_millis(40)));
    }
}
