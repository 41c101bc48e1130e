//! HTTP without any knowledge of renders: connections and their limits, bodies, ranges, errors, and the request log.

mod accept;
mod body;
mod connections;
mod errors;
mod in_flight;
mod journal;
mod limits;
mod memory_budget;
mod metrics;
mod peer;
mod ranges;
mod redacted_text;
mod refusal;
mod request_checks;
mod request_id;
mod retry_after;
mod server;
mod shown_url;
mod spanned_body;
mod timed_stream;

pub(crate) use self::accept::preferred;
pub use self::body::{BodyReader, BufferedBody};
pub use self::errors::{CommonErrors, HttpError, Message};
pub use self::in_flight::HeldRequests;
pub(crate) use self::in_flight::{HeldPlace, InFlight, InFlightPlace, limit_in_flight};
pub(crate) use self::journal::{Journal, journal};
pub use self::limits::{AddressLimits, Limits};
pub use self::metrics::METRICS;
pub(crate) use self::peer::client_address;
pub use self::ranges::{ByteRange, RequestedRange};
pub use self::redacted_text::without_queries;
pub(crate) use self::request_checks::check_request;
pub(crate) use self::retry_after::retry_after;
pub(crate) use self::server::ReservedConnection;
pub use self::server::serve;
pub use self::shown_url::without_credentials;
