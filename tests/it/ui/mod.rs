//! The operator pages.

mod browser;
mod client;
mod driver;
mod erase;
mod forms;
mod pages;
mod roles;
mod screenshots;
mod sessions;
mod throttle;
