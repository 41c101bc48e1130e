//! What applications ask.

mod announce;
mod events;
mod files;
mod list;
mod metrics;
mod openapi;
mod renders;
