//! What Magic Hour is asked: details of renders, fresh URLs, deletion.

pub mod client;
mod deletion;
pub mod missing_webhooks;
mod reconcile;
mod throttle;

pub use self::client::{Greeting, MagicHour, UpstreamError};
pub use self::deletion::Deleter;
pub use self::missing_webhooks::Silence;
pub use self::reconcile::Reconciler;
pub use self::reconcile::schedule::Schedule;
