//! The service as a whole, against real neighbours: Postgres, HTTP servers, files and an S3 server.

mod any_order;
mod asking;
mod at_once;
mod command_line;
mod compose;
mod hostile;
mod journey;
mod mutated;
mod outage;
mod process;
mod queueing;
mod readme;
mod receiving;
mod rules;
mod schema;
mod strange;
mod support;
mod upkeep;
mod urls;
mod wakings;
