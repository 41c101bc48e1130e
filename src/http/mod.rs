//! HTTP that knows nothing of renders: connections, bodies, ranges, errors.

pub mod body;
mod errors;
mod ranges;
pub mod server;

pub use self::errors::{Guarded, HttpError, Message};
pub use self::ranges::{Asked, Span};
