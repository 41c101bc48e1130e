//! What follows from a poll: [`PolledRender::settle`](decide) decides, and `rows` locks and writes.

mod decide;
mod rows;

pub(in crate::upstream) use self::decide::PollOutcome;
