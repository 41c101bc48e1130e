//! The HTTP API.

mod announce;
mod events;
mod files;
mod list;
mod metrics;
mod openapi;
mod renders;
