//! What Magic Hour is asked: details of renders, fresh URLs, deletion.

pub mod client;
mod deletion;
mod error;
pub mod missing_webhooks;
mod reconcile;
mod throttle;

pub use self::client::{Limits, MagicHour, Probe};
pub use self::deletion::Deleter;
pub use self::error::{Scope, UpstreamError};
pub use self::missing_webhooks::Silence;
pub use self::reconcile::Reconciler;
pub use self::reconcile::schedule::Schedule;
