//! The service as a whole, against real neighbours: Postgres, HTTP servers, files and an S3 server.

mod asking;
mod command_line;
mod hostile;
mod journey;
mod mutated;
mod outage;
mod process;
mod receiving;
mod strange;
mod support;
