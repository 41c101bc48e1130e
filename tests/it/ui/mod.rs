//! The operator pages.

mod client;
mod forms;
mod pages;
mod roles;
mod sessions;
mod throttle;
