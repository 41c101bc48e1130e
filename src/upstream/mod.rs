//! What Magic Hour is asked: details of renders, which bring fresh URLs as well, and deletion.
//!
//! [`Reconciler`] polls, [`Deleter`] deletes, and [`missing_webhooks`] counts what only polls brought. All calls go through
//! [`MagicHour`], at the pace of the one [`Throttle`]; a failed one is an [`UpstreamError`], whose [`Scope`] says whom it
//! concerns.

pub mod client;
mod deletion;
mod error;
pub mod missing_webhooks;
mod reconcile;
mod throttle;

pub use self::client::{Limits, MagicHour, Probe};
pub use self::deletion::{Deleter, DeletionOutcome};
pub use self::error::{Scope, UpstreamError};
pub use self::missing_webhooks::MissingWebhooks;
pub use self::reconcile::Reconciler;
pub use self::reconcile::schedule::Schedule;
pub use self::throttle::Throttle;
