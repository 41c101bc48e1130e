//! Notifying the application.

mod again;
mod faults;
mod outages;
mod posting;
