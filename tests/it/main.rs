//! The service as a whole, against real neighbours: Postgres, HTTP servers, files and an S3 server.

mod any_order;
mod at_once;
mod compose;
mod journey;
mod queueing;
mod rules;
mod schema;
mod support;
mod urls;
mod wakings;
