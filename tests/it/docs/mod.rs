//! The docs match the program.

mod logs;
mod readme;
mod tables;
