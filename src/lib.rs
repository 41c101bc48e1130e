//! renderhook: the webhook receiver for [Magic Hour](https://magichour.ai).
//!
//! ```text
//!  Magic Hour ──POST /webhook──▶ intake ──┐
//!       ▲                                 │ one transaction: delivery, render,
//!       ├── details, deletion ── upstream ┤ transition, downloads, notifications
//!       │                                 ▼
//!       │                              Postgres ──┬──▶ notify ──POST──▶ application
//!       │                                 ▲       └──▶ api ◀────GET──────────┘
//!       │                                 │             ▲
//!       └──── files ──▶ archive ──────────┴──▶ object store
//! ```
//!
//! Each folder is a room, private inside, and the arrows between rooms run one way:
//!
//! ```text
//!  cli ▶ config, app ▶ ui ▶ api ▶ erasure ▶ upstream ▶ notify, streams ▶ views ▶ archive, intake ▶ feed ▶ http ▶ runtime ▶ domain
//! ```
//!
//! `docs/architecture.md` walks one webhook, one file and one question through them.

pub mod api;
pub mod app;
pub mod archive;
pub mod cli;
pub mod config;
pub mod domain;
pub mod erasure;
pub mod feed;
pub mod http;
pub mod intake;
pub mod notify;
pub mod runtime;
pub mod streams;
pub mod ui;
pub mod upstream;
pub mod views;
