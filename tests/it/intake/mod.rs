//! Webhooks: receiving, recording, replay.

mod answers;
mod any_order;
mod concurrency;
mod conflicts;
mod group_commit;
mod mutated_payloads;
mod odd_payloads;
mod repetitions;
mod replay;
mod retention;
mod shortage;
mod status_rules;
mod urls;
mod wakeups;
