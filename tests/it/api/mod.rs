//! The HTTP API.

mod addresses;
mod announce;
mod deliveries;
mod events;
mod files;
mod list;
mod metrics;
mod openapi;
mod renders;
mod roles;
