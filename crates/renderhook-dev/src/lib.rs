//! For developing renderhook: a stand-in Magic Hour for tests, and the demo.
//!
//! Nothing of it is in the production binary: the service never depends on this crate, only its tests do.

pub mod cli;
mod demo;
pub mod standin;
