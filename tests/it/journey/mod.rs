//! Whole journeys through the service.

mod bad_day;
mod one_render;
