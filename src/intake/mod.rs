//! Webhooks from Magic Hour: verifying, parsing, and recording them.

pub mod receive;
pub mod record;
pub mod replay;
pub mod retention;
pub mod signature;
mod skew;

pub use self::receive::{AdviceLimiter, Receiver};
pub use self::replay::Replayed;
pub use self::signature::{SIGNATURE_HEADER, SignatureHeaders, TIMESTAMP_HEADER, Verdict, Verifier};
