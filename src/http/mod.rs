//! HTTP that knows nothing of renders: connections, bodies, ranges, errors.

pub mod body;
mod errors;
mod ranges;
pub mod server;
mod shown_url;

pub use self::errors::{Guarded, HttpError, Message};
pub use self::ranges::{ByteRange, RequestedRange};
pub use self::shown_url::without_credentials;
