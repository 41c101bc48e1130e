//! The events of the log, which operators search for and alert on.
//!
//! Every line of this program at `info` and above has one of them in the field `event`. The list is a promise to
//! operators: `docs/logs.md` has a row for each event, and a test compares the two. Each event has one meaning. `warn` is
//! for faults of others: a client or a dependency. `error` means that a person must act.

use std::fmt;

macro_rules! log_events {
    ($($(#[doc = $doc:literal])+ $name:ident = $event:literal,)+) => {
        /// What a log line is about: the value of its field `event`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LogEvent {
            $($(#[doc = $doc])+ $name,)+
        }

        impl LogEvent {
            /// Every event, roughly in the order in which they occur.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The string in the log.
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
    /// The service listens.
    ServiceStarted = "service.started",
    /// The service is shutting down: a stop was requested, or a part of it failed.
    ServiceStopping = "service.stopping",
    /// The service has stopped.
    ServiceStopped = "service.stopped",
    /// The program panicked: a bug.
    ServicePanicked = "service.panicked",
    /// `API_TOKENS` is `none`, so anyone who can reach the address may read and act.
    AuthDisabled = "auth.disabled",
    /// An operator logged in to the pages.
    UiLogin = "ui.login",
    /// Someone tried to log in to the pages with an unknown token.
    UiLoginRefused = "ui.login_refused",
    /// At startup: a setting is valid but looks like a mistake.
    ConfigWarning = "config.warning",
    /// Log lines were dropped because the reader stalled.
    LogDropped = "log.dropped",
    /// Spans cannot be exported.
    TracesFailed = "traces.failed",
    /// A request was answered.
    HttpResponded = "http.responded",
    /// A delivery was recorded.
    WebhookRecorded = "webhook.recorded",
    /// A delivery about an erased render arrived. Nothing of it is kept.
    WebhookErased = "webhook.erased",
    /// An event was delivered again and changed nothing.
    WebhookDuplicate = "webhook.duplicate",
    /// A delivery reported a status that the render had already passed.
    WebhookLate = "webhook.late",
    /// A delivery has a type or status that this version does not know. It is stored.
    WebhookUnknown = "webhook.unknown",
    /// A request to `/webhook` was rejected, for example because it has no valid signature.
    WebhookRejected = "webhook.rejected",
    /// An authentic delivery is not an event. Its body is stored.
    WebhookUnreadable = "webhook.unreadable",
    /// An authentic delivery was signed outside the tolerance. It is stored but not trusted.
    WebhookStale = "webhook.stale",
    /// A render's status changed.
    RenderMoved = "render.moved",
    /// A report contradicts how a render ended.
    RenderConflict = "render.conflict",
    /// A complete render has fewer files than Magic Hour announced, and the details API has no more.
    RenderShort = "render.short",
    /// What `EXTERNAL_ID_PATTERN` finds in a render's name cannot be an external id. Logged once by a process.
    ExternalIdRejected = "external_id.rejected",
    /// This version cannot read a render's row, and leaves the render out of a list.
    RenderUnreadable = "render.unreadable",
    /// A worker started an attempt at a download.
    DownloadStarted = "download.started",
    /// A transfer has taken another 30 s.
    DownloadProgress = "download.progress",
    /// A file is completely stored.
    DownloadStored = "download.stored",
    /// An attempt failed and will be retried.
    DownloadRetried = "download.retried",
    /// A file needs a fresh URL. The attempt does not count.
    DownloadAwaitsUrl = "download.awaits_url",
    /// The process ran out of a resource, such as file descriptors. The attempt does not count.
    DownloadPostponed = "download.postponed",
    /// A worker returned a download to the queue because the service is stopping.
    DownloadReleased = "download.released",
    /// A worker lost its lease to another worker.
    DownloadLeaseLost = "download.lease_lost",
    /// Files may soon be lost: their URLs are about to expire, and no attempt has succeeded.
    DownloadEndangered = "download.endangered",
    /// A download failed for good: it has no attempts left, or no attempt can succeed.
    DownloadFailed = "download.failed",
    /// Files of a render got fresh URLs.
    DownloadUrlRenewed = "download.url_renewed",
    /// A worker took over a download whose lease had expired.
    DownloadTakenOver = "download.taken_over",
    /// The application accepted a notification.
    NotificationDelivered = "notification.delivered",
    /// The application did not accept a notification. It is posted again.
    NotificationRetried = "notification.retried",
    /// A notification has failed for good.
    NotificationFailed = "notification.failed",
    /// The application has accepted nothing for an hour or more.
    NotificationsFailing = "notifications.failing",
    /// A poll was sent to Magic Hour's details API.
    PollSent = "poll.sent",
    /// Magic Hour answered a poll.
    PollAnswered = "poll.answered",
    /// Magic Hour does not know the render.
    PollNotFound = "poll.not_found",
    /// A poll failed. The render is polled again.
    PollFailed = "poll.failed",
    /// Magic Hour's API or the account has a problem: all calls pause.
    UpstreamPaused = "upstream.paused",
    /// Calls to Magic Hour's API work again after a pause.
    UpstreamResumed = "upstream.resumed",
    /// Polls found renders that webhooks should have reported.
    WebhooksMissing = "webhooks.missing",
    /// A project was deleted at Magic Hour.
    DeletionCompleted = "deletion.completed",
    /// A project cannot be deleted yet. Deletion is retried.
    DeletionPostponed = "deletion.postponed",
    /// Magic Hour refuses to delete a project.
    DeletionRefused = "deletion.refused",
    /// A stored object does not match its record, so its project is not deleted.
    DeletionWithheld = "deletion.withheld",
    /// The erasure of a render was requested.
    ErasureRequested = "erasure.requested",
    /// A step of an erasure failed. It is retried.
    ErasurePostponed = "erasure.postponed",
    /// A render is erased.
    ErasureCompleted = "erasure.completed",
    /// At startup: the store can be written.
    StoreReady = "store.ready",
    /// A request to the store failed.
    StoreFailed = "store.failed",
    /// The store works again.
    StoreRestored = "store.restored",
    /// At startup: waiting for the database or for the migrations' lock.
    DatabaseWaiting = "database.waiting",
    /// A migration was applied.
    DatabaseMigrated = "database.migrated",
    /// The database cannot be reached.
    DatabaseLost = "database.lost",
    /// The database can be reached again.
    DatabaseRestored = "database.restored",
    /// Connections that did not respond were replaced.
    DatabaseReconnected = "database.reconnected",
    /// Statements timed out although the database can be reached.
    DatabaseSlow = "database.slow",
    /// The database refused a statement: a bug, or a missing privilege.
    DatabaseRefused = "database.refused",
    /// `DATABASE_URL` is a pooler in transaction mode, and `DATABASE_DIRECT_URL` is not set.
    DatabasePooled = "database.pooled",
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
