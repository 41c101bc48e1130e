//! What applications use: the examples, libraries for streams and Standard Webhooks, and Magic Hour's SDKs, in Python and Node.

mod application;
mod browser;
mod examples;
mod nginx;
mod programs;
mod sdks;
mod streams;
