//! What Magic Hour says: webhooks are verified, read and recorded.

pub mod receive;
pub mod record;
pub mod replay;
pub mod retention;
pub mod signature;
mod skew;

pub use self::receive::{Advised, Receiver};
pub use self::replay::Reread;
pub use self::signature::{SIGNATURE_HEADER, SignatureHeaders, TIMESTAMP_HEADER, Verdict, Verifier};
