//! The operator pages under `/ui`: what is in trouble, renders, deliveries.
//!
//! Pages are HTML that the server renders, with one stylesheet and one script from the binary. Without the script,
//! everything works but the live updates.
//!
//! Guaranteed:
//! - Nothing is shown without a session, and nothing is changed in a session whose token may only read. Logging out, expiry, and
//!   removing the token from the settings end a session in every replica.
//! - A change needs a form of these pages: another site cannot send one in the name of an operator.
//! - No page runs or loads anything from elsewhere but pictures and videos from the bucket.

mod assets;
mod deliveries;
mod erase;
mod error;
mod forms;
mod headers;
mod html;
mod live;
mod login;
mod origin;
mod parameters;
mod queries;
mod renders;
mod resend;
mod retry;
mod return_path;
mod router;
mod session;
mod throttle;
mod trouble;

pub use self::router::{UiState, pages};
pub use self::session::run_session_expiry;
