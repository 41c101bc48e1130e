//! Which URL of a file stays, and what a fresh one does to its download.
//!
//! Of everything observed of one file, that URL stays which is known to work longest: until it expires or, if nobody said
//! when that is, at the time when it was observed. Then the later observation counts, then the URL itself. That is a
//! total order, so that observations may come in any order.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::DownloadState;

/// A download, as far as recording reads and writes it.
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

/// Where a file is, as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct FileSource {
    pub(in crate::intake::record) url: Option<String>,
    pub(in crate::intake::record) host: String,
    pub(in crate::intake::record) expires_at: Option<DateTime<Utc>>,
    pub(in crate::intake::record) observed_at: DateTime<Utc>,
}

impl FileSource {
    /// By what two URLs of one file are compared; `None`, which is below every other, without a URL.
    fn order(&self) -> Option<impl Ord + use<'_>> {
        let works_until = self.expires_at.unwrap_or(self.observed_at);
        self.url.as_ref().map(|url| (works_until, self.observed_at, url, self.expires_at.is_some()))
    }
}

/// What an observation does to a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileChange {
    /// Nothing.
    None,
    /// Its URL is known to work longer. That is no news, and no reason to try it sooner.
    Extended(Download),
    /// The file is new, or has a URL that was not tried yet.
    Fresh(Download),
}

/// What follows when `source` is observed of a file that is so far known as `current`; `key` is where an object from that
/// URL goes.
pub(super) fn observe(current: Option<&Download>, source: FileSource, key: String, now: DateTime<Utc>) -> FileChange {
    let Some(current) = current else {
        return FileChange::Fresh(new(source, key, now));
    };
    if current.state == DownloadState::Stored || source.order() <= current.source.order() {
        return FileChange::None;
    }
    // The key names the file of the URL, and is fixed once a worker may have written there.
    let key = if current.first_attempt_at.is_none() { key } else { current.key.clone() };
    if source.url == current.source.url {
        return FileChange::Extended(Download { source, key, ..current.clone() });
    }
    if current.source.url.is_none() {
        return FileChange::Fresh(Download { key, ..new(source, current.key.clone(), now) });
    }
    let mut next = Download { source, key, updated_at: now, ..current.clone() };
    match current.state {
        DownloadState::Pending => next.due_at = Some(now),
        // The transfer continues with the old URL; the next attempt takes the new one.
        DownloadState::Downloading => {}
        // It starts over, with all its attempts.
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

fn new(source: FileSource, key: String, now: DateTime<Utc>) -> Download {
    let (state, due_at, error) = if source.url.is_some() {
        (DownloadState::Pending, Some(now), None)
    } else {
        let message = "this entry of `downloads` came without a URL that can be read";
        (DownloadState::Failed, None, Some(("no_url".to_owned(), message.to_owned())))
    };
    Download { state, source, key, attempts: 0, first_attempt_at: None, due_at, lease: None, error, updated_at: now }
}
