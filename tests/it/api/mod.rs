//! What applications ask.

mod announce;
mod list;
mod openapi;
mod renders;
