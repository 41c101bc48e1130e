//! Notifying the application: posting notifications to `NOTIFY_URL` as [Standard Webhooks](https://www.standardwebhooks.com).
//!
//! [`Notifier::run`] claims what is due, posts it, and settles the answers. Guaranteed: every notification is posted until
//! it is delivered or has failed for good, so at least once; those of a render are posted one at a time and in order; no
//! receiver, however slow, occupies more than [`CONCURRENCY`] requests or holds up anything else.

mod client;
mod health;
mod message;
mod metrics;
mod notifier;
mod queue;
mod resend;
mod schedule;
mod signing;

pub use self::client::{Client, PostError, Reply};
pub use self::message::NotificationMessage;
pub use self::metrics::METRICS;
pub use self::notifier::{CONCURRENCY, Notifier};
pub use self::queue::oldest_pending;
pub use self::resend::{ResendFilter, Resent, preview, resend};
pub use self::schedule::{PostOutcome, decide};
pub use self::signing::{InvalidSigningKey, SigningKeys};
