//! The process, the database and the schema.

mod log;
mod outage;
mod process;
mod schema;
