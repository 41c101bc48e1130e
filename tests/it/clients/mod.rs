//! What applications use: the examples, and libraries for streams and Standard Webhooks, in Python and Node.

mod browser;
mod examples;
mod nginx;
mod programs;
mod streams;
