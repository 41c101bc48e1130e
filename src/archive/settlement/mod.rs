//! Settling downloads: what becomes of a row after an attempt.
//!
//! Guaranteed: a settlement is decided with the rows under lock, so it sees the newest URL; it changes nothing unless the
//! attempt still holds the lease; everything that follows from it (the render's counts, the totals, the wake-up calls)
//! commits together with it. Attempts that end at about the same time share one transaction.

mod batch;
mod changes;
mod decide;
mod rows;

pub use self::batch::Settler;
pub(super) use self::decide::may_give_up;
pub use self::decide::{Attempt, Outcome, Settlement};
