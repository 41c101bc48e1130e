//! The files of renders, behind signed URLs.

pub mod media;
mod server;
mod url_signer;

pub use self::server::FileServer;
pub(in crate::standin) use self::server::http_origin;
pub(in crate::standin) use self::url_signer::UrlSigner;
