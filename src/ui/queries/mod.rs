//! Statements of the pages alone. What the API shows as well is read by `views`.

mod facts;
mod failed_renders;
mod files;
mod search;
mod sessions;
mod troubled_downloads;
mod warnings;

pub(super) use self::facts::{PollFacts, UrlExpiry, poll_facts, url_expiries};
pub(super) use self::failed_renders::{FailedRenders, failed_renders};
pub(super) use self::files::{TroubledFile, TroubledFiles, troubled_files};
pub(super) use self::search::{SEARCH_LIMIT, search};
pub(super) use self::sessions::{NewSession, begin_session, end_session, remove_expired, role_name, session};
pub(super) use self::troubled_downloads::{COUNT_LIMIT, TroubledDownloads, troubled_downloads};
pub(super) use self::warnings::{NotificationTrouble, ServiceWarnings, UnusedDeliveries, service_warnings};
