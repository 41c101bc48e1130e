//! Which URL of a file is used, and how a fresh URL changes its download.
//!
//! The URL that works longest wins: until it expires or, if that is unknown, until it was observed. Among equals, the later
//! observation wins, then the greater URL. This is a total order, so the order of observations does not matter.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::DownloadState;

/// The part of a download that recording reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct Download {
    pub(in crate::intake::record) state: DownloadState,
    pub(in crate::intake::record) source: FileSource,
    pub(in crate::intake::record) key: String,
    pub(in crate::intake::record) attempts: i32,
    pub(in crate::intake::record) first_attempt_at: Option<DateTime<Utc>>,
    pub(in crate::intake::record) due_at: Option<DateTime<Utc>>,
    pub(in crate::intake::record) lease: Option<Uuid>,
    pub(in crate::intake::record) error: Option<(String, String)>,
    pub(in crate::intake::record) updated_at: DateTime<Utc>,
}

/// The observed location of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct FileSource {
    pub(in crate::intake::record) url: Option<String>,
    pub(in crate::intake::record) host: String,
    pub(in crate::intake::record) expires_at: Option<DateTime<Utc>>,
    pub(in crate::intake::record) observed_at: DateTime<Utc>,
}

impl FileSource {
    /// The sort key. `None`, which is the lowest, without a URL.
    fn order(&self) -> Option<impl Ord + use<'_>> {
        let works_until = self.expires_at.unwrap_or(self.observed_at);
        self.url.as_ref().map(|url| (works_until, self.observed_at, url, self.expires_at.is_some()))
    }
}

/// How an observation changes a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileChange {
    /// Not at all.
    None,
    /// The same URL works longer than known before. This is no reason to retry earlier.
    Extended(Download),
    /// The file is new, or has a different URL.
    Fresh(Download),
}

/// Decides how observing `source` changes the download `current`, if it exists. `key` is the object key for that URL.
pub(super) fn observe(current: Option<&Download>, source: FileSource, key: String, now: DateTime<Utc>) -> FileChange {
    let Some(current) = current else {
        return FileChange::Fresh(new_download(source, key, now));
    };
    if current.state == DownloadState::Stored || source.order() <= current.source.order() {
        return FileChange::None;
    }
    // The key contains the file name of the URL. It is fixed once a worker may have written there.
    let key = if current.first_attempt_at.is_none() { key } else { current.key.clone() };
    if source.url == current.source.url {
        return FileChange::Extended(Download { source, key, ..current.clone() });
    }
    if current.source.url.is_none() {
        return FileChange::Fresh(Download { key, ..new_download(source, current.key.clone(), now) });
    }
    let mut next = Download { source, key, updated_at: now, ..current.clone() };
    match current.state {
        DownloadState::Pending => next.due_at = Some(now),
        // The transfer continues with the old URL. The next attempt uses the new one.
        DownloadState::Downloading => {}
        // It starts over with all attempts.
        DownloadState::Failed => {
            next.state = DownloadState::Pending;
            next.attempts = 0;
            next.first_attempt_at = None;
            next.due_at = Some(now);
        }
        DownloadState::Stored => return FileChange::None,
    }
    FileChange::Fresh(next)
}

fn new_download(source: FileSource, key: String, now: DateTime<Utc>) -> Download {
    let (state, due_at, error) = if source.url.is_some() {
        (DownloadState::Pending, Some(now), None)
    } else {
        let message = "this entry of `downloads` has no valid URL";
        (DownloadState::Failed, None, Some(("no_url".to_owned(), message.to_owned())))
    };
    Download { state, source, key, attempts: 0, first_attempt_at: None, due_at, lease: None, error, updated_at: now }
}
