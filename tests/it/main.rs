//! The service as a whole, against real neighbours: Postgres, HTTP servers, files and an S3 server.

mod compose;
mod journey;
mod support;
