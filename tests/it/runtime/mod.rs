//! The process, the database and the schema.

mod outage;
mod process;
mod schema;
