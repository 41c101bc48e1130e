//! The docs match the program.

mod readme;
