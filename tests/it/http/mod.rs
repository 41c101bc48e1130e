//! The HTTP server: connections, bodies, protocol errors, and the line of each request.

mod connections;
mod flood;
mod hostile_requests;
mod memory;
mod protocol;
mod request_log;
