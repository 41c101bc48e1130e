//! Records observations in the database.
//!
//! [`Recorder`] collects observations into batches, and [`record`] writes one batch in one transaction. `rule` decides what
//! is written; SQL only locks, reads, and writes. `deliveries` stores deliveries that are unreadable or stale, and
//! [`log_recorded`] logs what happened.
//!
//! Guaranteed: in whatever order observations arrive, repeated or not, and however they are spread over batches, connections,
//! and processes, renders end up in the same state, and each status change is one transition. `rule` lists the exceptions.

mod deliveries;
mod field_versions;
mod log;
mod observation;
mod read;
mod recorded;
mod recorder;
mod rows;
mod rule;
mod rules;
mod stored_delivery;
mod transaction;
mod write;

pub(super) use self::deliveries::{find_unresolved, store_stale, store_unreadable};
pub use self::log::log_recorded;
pub use self::observation::{Observation, Source};
pub use self::recorded::{RecordOutcome, Recorded, StatusChange};
pub use self::recorder::{QueueLimits, RecordError, Recorder};
pub use self::rule::MAX_STORED_REPETITIONS;
pub use self::rules::RecordRules;
pub use self::stored_delivery::StoredDelivery;
pub use self::transaction::record;
