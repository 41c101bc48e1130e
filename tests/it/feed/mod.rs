//! The feed, and what is written to it.

mod order;
mod removal;
mod written;
