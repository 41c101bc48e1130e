//! The docs and the deployment files match the program.

mod compose;
mod readme;
