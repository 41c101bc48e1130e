//! The HTTP API for applications and operators.

mod bearer;
mod events;
mod file_serving;
mod files;
mod health;
mod link_key;
mod metrics;
pub mod openapi;
mod parameters;
pub mod queries;
mod renders;
pub mod router;

pub use self::bearer::{Access, BearerTokens};
pub use self::file_serving::{FileServing, ServeFiles};
pub use self::health::Health;
pub use self::link_key::LinkKeyCell;
pub use self::metrics::Metrics;
pub use self::queries::announce::{Announcement, ExternalIdUpdate};
pub use self::renders::ApiState;
