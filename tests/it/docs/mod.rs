//! The docs match the program.

mod contributing;
mod logs;
mod readme;
mod security;
mod tables;
