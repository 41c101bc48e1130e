//! The service as a whole, against real dependencies: Postgres, HTTP servers, files and an S3 server.

mod api;
mod archive;
mod cli;
mod clients;
mod deploy;
mod docs;
mod erasure;
mod feed;
mod http;
mod intake;
mod journey;
mod notify;
mod runtime;
mod streams;
mod support;
mod ui;
mod upstream;
