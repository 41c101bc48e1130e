//! Server-sent events, and callers that wait.

mod limits;
mod of_all;
mod of_render;
mod order;
mod outages;
