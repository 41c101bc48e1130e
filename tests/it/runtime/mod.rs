//! The process, the database and the schema.

mod connections;
mod log;
mod outage;
#[cfg(unix)]
mod pooler;
mod process;
mod schema;
mod start;
mod traces;
mod transactions;
