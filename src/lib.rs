//! renderhook: the webhook receiver for [Magic Hour](https://magichour.ai).
//!
//! ```text
//!  Magic Hour ──POST──▶ receive ▶ verify ▶ event ▶ record ──▶ 2xx          application ──GET──▶ renders, files
//!        │                                         ▲ │ one transaction:                            │
//!        └── details call ── reconcile ────────────┘ │ delivery · render · transition · downloads  ▼
//!                                                    ▼                                           query
//!                                                Postgres ◀── settle ── worker ── claim            │
//!                                                    ▲                    │ download: fetch ▶ store │
//!                                                    └────────────────────┼────────────────────────┘
//!                                                                         ▼
//!                                                                    object store
//! ```
//!
//! The modules stand in the order in which a webhook travels; `docs/architecture.md` walks one through them.

// The way of an event.
pub mod api;
mod body;
pub mod event;
pub mod receive;
pub mod record;
pub mod render;
pub mod replay;
pub mod server;
pub mod skew;
pub mod verify;

// The way of a file.
pub mod backoff;
pub mod deletion;
pub mod download;
pub mod fetch;
pub mod key;
pub mod media_type;
pub mod partial;
pub mod queue;
pub mod retry;
pub mod store;
pub mod worker;

// The truth that no webhook tells.
pub mod magic_hour;
mod pacing;
pub mod reconcile;
pub mod renewal;
pub mod silence;

// What an application reads.
pub mod answer;
pub mod bearer;
pub mod files;
pub mod health;
pub mod metrics;
pub mod openapi;
pub mod query;
pub mod ranges;
pub mod renders;
pub mod track;
pub mod urgency;

// What they stand on.
pub mod app;
pub mod clock;
pub mod config;
pub mod database;
pub mod log;
pub mod retention;
pub mod shutdown;
pub mod telemetry;
pub mod wakeups;

// What stands beside the service.
#[cfg(unix)]
pub mod cluster;
pub mod commands;
pub mod standin;
