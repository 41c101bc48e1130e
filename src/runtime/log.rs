//! The words of the log: what an operator may search for and alert on.
//!
//! Every line that this program writes about its own work carries one of these in the field `event`. The list is part
//! of what is promised to users: it is printed in the README, and a test holds the two together. `warn` is what a
//! stranger or a neighbour did wrong; `error` is what a person must see to.

use std::fmt;

macro_rules! log_events {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+) => {
        /// What a line of the log is about: the value of its field `event`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LogEvent {
            $($(#[doc = $doc])+ $name,)+
        }

        impl LogEvent {
            /// Every event, in the order of a webhook's journey.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word as it stands in the log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// What the line tells, for the README.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

log_events! {
    /// The service listens and works.
    ServiceStarted = "service.started",
    /// It was told to stop and drains, or a part of it failed.
    ServiceStopping = "service.stopping",
    /// It has stopped.
    ServiceStopped = "service.stopped",
    /// A request was answered.
    HttpResponded = "http.responded",
    /// A delivery was recorded.
    WebhookRecorded = "webhook.recorded",
    /// A delivery of an event that had been delivered before; it moved nothing.
    WebhookDuplicate = "webhook.duplicate",
    /// A delivery whose status the render had already passed.
    WebhookLate = "webhook.late",
    /// A delivery whose type or status this version does not know; it is kept.
    WebhookUnknown = "webhook.unknown",
    /// A request that nobody who knows a secret has signed.
    WebhookRejected = "webhook.rejected",
    /// An authentic delivery that is no event; its body is kept.
    WebhookUnreadable = "webhook.unreadable",
    /// An authentic delivery outside the tolerance; it is kept and not believed.
    WebhookStale = "webhook.stale",
    /// A render's status changed.
    RenderMoved = "render.moved",
    /// A render that had failed or been canceled is complete after all.
    RenderConflict = "render.conflict",
    /// A worker took up a download.
    DownloadStarted = "download.started",
    /// A file is in the store, whole.
    DownloadStored = "download.stored",
    /// An attempt failed; there will be another.
    DownloadRetried = "download.retried",
    /// The last attempt failed, or no attempt can succeed.
    DownloadFailed = "download.failed",
    /// Fresh URLs came for a file.
    DownloadRenewed = "download.renewed",
    /// The download of a worker that is gone was taken over.
    DownloadTakenOver = "download.taken_over",
    /// Magic Hour was asked about a render.
    PollAsked = "poll.asked",
    /// Magic Hour told about a render.
    PollAnswered = "poll.answered",
    /// Magic Hour did not answer, or refused to.
    PollRefused = "poll.refused",
    /// The store is there and can be written.
    StoreReady = "store.ready",
    /// The store refused or failed.
    StoreFailed = "store.failed",
    /// The database does not answer.
    DatabaseLost = "database.lost",
    /// The database answers again.
    DatabaseRestored = "database.restored",
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
