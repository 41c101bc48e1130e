//! The stand-in Magic Hour.

mod behavior;
