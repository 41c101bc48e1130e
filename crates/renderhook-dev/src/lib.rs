//! For developing renderhook: a stand-in for Magic Hour, and the demo.
//!
//! Nothing of it is in the production binary: the service never depends on this crate, only its tests do.

pub mod cli;
pub mod standin;
