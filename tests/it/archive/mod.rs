//! A file's journey: queue, leases, transfers, stores.

mod backlog;
#[cfg(target_os = "linux")]
mod descriptors;
mod faults;
mod leases;
mod many_files;
mod progress;
mod queue;
mod renewal;
mod resume;
mod retry;
mod stores;
