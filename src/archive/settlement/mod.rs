//! Settles downloads: changes their rows after an attempt.
//!
//! Guaranteed:
//! - Decisions are made while the rows are locked, so they consider the newest URL.
//! - Nothing changes unless the attempt still holds the lease.
//! - The render's file counts, the totals, and the notifications are part of the same transaction.
//!
//! Attempts that end at about the same time share one transaction.

mod attempt;
mod batch;
mod changes;
mod decide;
mod rows;

pub use self::attempt::{AttemptOutcome, AttemptReport};
pub use self::batch::Settler;
pub use self::decide::Settlement;
pub(super) use self::decide::may_give_up;
