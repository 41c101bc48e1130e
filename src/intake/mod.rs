//! Webhooks from Magic Hour: verifying, parsing, and recording them.

mod metrics;
mod receive;
mod record;
mod refused;
mod replay;
mod retention;
mod signature;
mod skew;

pub use self::metrics::METRICS;
pub use self::receive::{AdviceLimiter, Receiver, webhook_routes};
pub use self::record::{
    MAX_STORED_REPETITIONS, Observation, QueueLimits, RecordError, RecordOutcome, RecordRules, Recorded, Recorder,
    Source, StatusChange, StoredDelivery, log_recorded, record,
};
pub use self::replay::{Replayed, replay_deliveries};
pub use self::retention::{
    PartitionChange, create_partitions, delete_old_deliveries, drop_old_partitions, run_retention,
};
pub use self::signature::{Authentic, SIGNATURE_HEADER, SignatureHeaders, TIMESTAMP_HEADER, Verifier, sign_delivery};
