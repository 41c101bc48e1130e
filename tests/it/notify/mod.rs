//! Notifying the application.

mod again;
mod faults;
mod posting;
