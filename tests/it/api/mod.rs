//! What applications ask.

mod announce;
mod files;
mod list;
mod metrics;
mod openapi;
mod renders;
