//! The docs match the program.

mod architecture;
mod contributing;
mod logs;
mod readme;
mod security;
mod tables;
mod test_names;
