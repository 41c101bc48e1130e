//! Calls to Magic Hour's API: polling renders, which also gets fresh URLs, and deleting projects.
//!
//! [`Reconciler`] polls, [`Deleter`] deletes, and [`missing_webhooks`] counts renders that only polls reported. All calls
//! go through [`MagicHour`] at the rate of the shared [`Throttle`]. A failed call returns an [`UpstreamError`], whose
//! [`FailureScope`] says what it affects.

pub mod client;
mod deletion;
mod error;
pub mod missing_webhooks;
mod reconcile;
mod throttle;

pub use self::client::{CallLimits, MagicHour, Probe};
pub use self::deletion::{Deleter, DeletionOutcome};
pub use self::error::{FailureScope, UpstreamError};
pub use self::missing_webhooks::MissingWebhooks;
pub use self::reconcile::Reconciler;
pub use self::reconcile::schedule::Schedule;
pub use self::throttle::Throttle;
