//! Calls to Magic Hour: polls and deletion.

mod accounts;
mod client;
mod deletion;
mod log_lines;
pub(crate) mod missing_webhooks;
mod reconcile;
