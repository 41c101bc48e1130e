//! What applications ask.

mod announce;
mod files;
mod list;
mod openapi;
mod renders;
