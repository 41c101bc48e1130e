//! The service as a whole, against real neighbours: Postgres, HTTP servers, files and an S3 server.

mod any_order;
mod journey;
mod rules;
mod support;
