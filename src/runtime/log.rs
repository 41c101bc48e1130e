//! The events of the log: what an operator may search for and alert on.
//!
//! Every line that this program writes at `info` and above carries one of these in the field `event`. The list is a
//! promise to operators: `docs/logs.md` has a row for each event, and a test compares the two. One event has one
//! meaning. `warn` is for what a stranger or a dependency did wrong; `error` is for what a person must act on.

use std::fmt;

macro_rules! log_events {
    ($($(#[doc = $doc:literal])+ $name:ident = $event:literal,)+) => {
        /// The subject of a line of the log: the value of its field `event`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LogEvent {
            $($(#[doc = $doc])+ $name,)+
        }

        impl LogEvent {
            /// Every event, in the order of a webhook's journey.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The event as it stands in the log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $event,)+
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
    /// A part of the program panicked: a defect.
    ServicePanicked = "service.panicked",
    /// `API_TOKENS` is `none`: whoever reaches the address may read and act.
    AuthDisabled = "auth.disabled",
    /// At start: a setting is valid, but hardly what was meant.
    ConfigWarning = "config.warning",
    /// Lines of the log were dropped, because its reader stalled.
    LogDropped = "log.dropped",
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
    /// A request without a valid signature.
    WebhookRejected = "webhook.rejected",
    /// An authentic delivery that is no event; its body is kept.
    WebhookUnreadable = "webhook.unreadable",
    /// An authentic delivery outside the tolerance; it is kept and not believed.
    WebhookStale = "webhook.stale",
    /// A render's status changed.
    RenderMoved = "render.moved",
    /// A render that had failed or been canceled is complete after all.
    RenderConflict = "render.conflict",
    /// A render's row holds what this version cannot read; it is left out of a list.
    RenderUnreadable = "render.unreadable",
    /// A worker took up a download.
    DownloadStarted = "download.started",
    /// A file is in the store, whole.
    DownloadStored = "download.stored",
    /// An attempt failed; another one follows.
    DownloadRetried = "download.retried",
    /// A file waits for a fresh URL; the attempt does not count.
    DownloadAwaitsUrl = "download.awaits_url",
    /// The process lacked a resource, such as file descriptors; the attempt does not count.
    DownloadPostponed = "download.postponed",
    /// A worker gave a download back, because the service stops.
    DownloadReleased = "download.released",
    /// A worker lost its lease: another one has the download.
    DownloadLeaseLost = "download.lease_lost",
    /// Files are about to be lost: their URLs expire, and no attempt succeeds.
    DownloadEndangered = "download.endangered",
    /// The last attempt failed, or no attempt can succeed.
    DownloadFailed = "download.failed",
    /// Fresh URLs came for a file.
    DownloadRenewed = "download.renewed",
    /// The download of a worker that is gone was taken over.
    DownloadTakenOver = "download.taken_over",
    /// A render is polled: Magic Hour's details API is called.
    PollAsked = "poll.asked",
    /// Magic Hour answered a poll.
    PollAnswered = "poll.answered",
    /// Magic Hour does not know the render.
    PollNotFound = "poll.not_found",
    /// A poll brought no usable answer; this render is polled again.
    PollFailed = "poll.failed",
    /// The account or Magic Hour's API is in trouble: all calls pause.
    UpstreamPaused = "upstream.paused",
    /// Magic Hour's API answers again after a pause.
    UpstreamResumed = "upstream.resumed",
    /// Polls found out what webhooks should have said.
    WebhooksMissing = "webhooks.missing",
    /// A project was deleted at Magic Hour.
    DeletionCompleted = "deletion.completed",
    /// A project cannot be deleted yet; it is tried again.
    DeletionPostponed = "deletion.postponed",
    /// Magic Hour does not delete a project.
    DeletionRefused = "deletion.refused",
    /// A stored object is not what was stored, so its project is not deleted.
    DeletionWithheld = "deletion.withheld",
    /// The store is there and can be written.
    StoreReady = "store.ready",
    /// The store refused or failed.
    StoreFailed = "store.failed",
    /// At start: the database, or the lock of the migrations, is waited for.
    DatabaseWaiting = "database.waiting",
    /// Migrations were applied.
    DatabaseMigrated = "database.migrated",
    /// The database cannot be reached.
    DatabaseLost = "database.lost",
    /// The database can be reached again.
    DatabaseRestored = "database.restored",
    /// Connections that were silent were given up, and new ones work.
    DatabaseReconnected = "database.reconnected",
    /// A statement did not finish within its deadline, though the database can be reached.
    DatabaseSlow = "database.slow",
    /// The database refused a statement that this program should not have sent: a defect, or a missing right.
    DatabaseRefused = "database.refused",
    /// `DATABASE_URL` is a pooler that does not keep sessions, and `DATABASE_DIRECT_URL` is not set.
    DatabasePooled = "database.pooled",
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
