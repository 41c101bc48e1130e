//! What the tests stand on: the service in this process, a sender that signs, and neighbours that can misbehave.

pub(crate) mod app;
pub(crate) mod bench;
pub(crate) mod cutter;
pub(crate) mod origin;
pub(crate) mod polls;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod proxy_tcp;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod rows;
pub(crate) mod s3;
pub(crate) mod scripted;
pub(crate) mod sse;
pub(crate) mod tls;
pub(crate) mod wait;
pub(crate) mod words;

pub(crate) use self::app::{App, Options, standin};
pub(crate) use self::wait::until;
