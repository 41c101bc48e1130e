//! The stand-in behaves as Magic Hour is documented to, and fails on demand. Every answer of its API, and every webhook, is
//! validated against Magic Hour's own descriptions.

mod control;
mod creates;
mod renders;
mod support;
mod uploads;
