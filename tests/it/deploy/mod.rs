//! What builds, tests and deploys the program: the scripts, the image and the composition.

mod compose;
mod scripts;
mod secrets;
