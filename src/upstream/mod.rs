//! Calls to Magic Hour's API: polling renders, which also gets fresh URLs, and deleting projects.
//!
//! [`Reconciler`] polls, [`Deleter`] deletes, and [`MissingWebhooks`] counts renders that only polls reported. All calls
//! go through the [`MagicHour`] of an [`Account`] at the rate of the shared [`Throttle`]. A failed call returns an [`UpstreamError`], whose
//! [`FailureScope`] says what it affects.

mod accounts;
mod client;
mod deletion;
mod error;
mod metrics;
mod missing_webhooks;
mod project_deletion;
mod reconcile;
mod throttle;

pub use self::accounts::{Account, AccountId, Accounts, InvalidAccountId, ProjectFinder};
pub use self::client::{CallLimits, MagicHour, Probe, probe};
pub use self::deletion::{Deleter, DeletionOutcome};
pub use self::error::{FailureScope, UpstreamError};
pub use self::metrics::METRICS;
pub use self::missing_webhooks::{
    MISSING_WEBHOOKS_LIMIT, MissingWebhooks, count_missing_webhooks, watch_missing_webhooks,
};
pub use self::project_deletion::{ProjectDeleter, ProjectDeletion};
pub use self::reconcile::{Reconciler, Schedule, first_due_poll};
pub use self::throttle::{Throttle, paused_accounts};
