//! Webhooks: signed, sent over a network that may be bad, and retried.

mod network;
mod sender;
mod signed_request;

pub use self::network::Network;
pub use self::sender::{Retries, RetrySigning, WebhookSender};
pub use self::signed_request::{Answer, SignedRequest};
