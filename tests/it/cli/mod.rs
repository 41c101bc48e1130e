//! The commands of the real binary.

mod check;
mod command_line;
mod status;
mod verify;
