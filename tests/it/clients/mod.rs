//! What applications use: the examples, and libraries for streams and Standard Webhooks, in Python and Node.

mod examples;
mod programs;
mod streams;
