//! Sessions of operators who have logged in.
//!
//! A session is a random secret in a cookie of the browser, and a row with its hash. A visitor without a session has a secret in
//! another cookie, so that the form for logging in is protected as all others are.

mod cookies;
mod expiry;
mod operator;
mod secret;
mod visitor;

pub(super) use self::cookies::{SESSION, cleared};
pub use self::expiry::run_session_expiry;
pub(super) use self::operator::{Actor, Operator};
pub(super) use self::secret::BrowserSecret;
pub(super) use self::visitor::{SESSION_LIFETIME, Visitor, identify, is_session_alive};
