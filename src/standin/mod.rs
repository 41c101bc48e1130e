//! A stand-in Magic Hour: what the demo and the tests talk to in its place.
//!
//! It signs and sends events as the real one does, and serves files behind URLs whose query is a credential. Nothing of
//! it runs in `serve`.

pub mod files;
pub mod media;
pub mod project;
pub mod sender;
