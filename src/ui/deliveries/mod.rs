//! Deliveries: the list, and one with its body.

mod indent;
mod list;
mod one;

pub(super) use self::indent::indented;
pub(super) use self::list::list;
pub(super) use self::one::get;
