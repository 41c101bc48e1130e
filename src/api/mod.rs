//! The HTTP API for applications and operators.

mod access;
mod deliveries;
mod events;
mod file_serving;
mod files;
mod guard;
mod health;
mod link_key;
mod metrics;
mod openapi;
mod parameters;
mod queries;
mod renders;
mod router;
mod webhooks;

pub use self::access::{Access, BearerTokens, Role, TokenFingerprint};
pub use self::file_serving::{FileServing, ServeFiles};
pub use self::files::FileLink;
pub use self::health::Health;
pub use self::link_key::LinkKeyCell;
pub use self::metrics::{METRICS, Metrics, PolledAccounts};
pub use self::openapi::openapi_json;
pub use self::queries::{AnnounceOutcome, Announcement, ExternalIdUpdate, announce};
pub use self::renders::ApiState;
pub use self::router::{RouteStates, Routers, openapi_document, routers};
