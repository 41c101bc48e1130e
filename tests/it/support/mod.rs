//! What tests share: the service in this process or as one of its own, signed requests, and servers and proxies that fail on
//! demand.

pub(crate) mod accounts;
pub(crate) mod app;
pub(crate) mod harness;
pub(crate) mod listening;
pub(crate) mod observations;
pub(crate) mod origin;
pub(crate) mod polls;
pub(crate) mod postgres_proxy;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod round_trips;
pub(crate) mod rows;
pub(crate) mod s3;
pub(crate) mod s3_proxy;
pub(crate) mod scripted;
pub(crate) mod sse;
pub(crate) mod tls;
pub(crate) mod wait;

pub(crate) use self::app::{App, Options, standin};
pub(crate) use self::wait::{skip, until};
