//! The notifier: claims what is due, posts it, and settles the replies in batches.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument, error, error_span, info, warn};

use super::client::{Client, PostError, Reply};
use super::health;
use super::message::NotificationMessage;
use super::metrics::count_attempt;
use super::queue::{self, ClaimedNotification, EndedPost};
use super::schedule::{PostOutcome, decide};
use crate::archive::Store;
use crate::domain::NotificationId;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, DatabaseError, LogEvent, Shutdown, Wakeups};
use crate::views::{self, RenderView};

/// How many requests are in progress at once, at most.
pub const CONCURRENCY: usize = 64;
/// The longest sleep: the database may have changed without a wakeup.
const MAX_SLEEP: Duration = Duration::from_secs(5);
/// The shortest sleep, also while the database is unreachable.
const MIN_SLEEP: Duration = Duration::from_millis(100);
/// How often the health of the receiver is checked.
const HEALTH_INTERVAL: Duration = Duration::from_mins(1);
/// By how much gaps vary.
const JITTER: std::ops::Range<f64> = 0.85..1.15;

/// Posts notifications.
#[derive(Debug, Clone)]
pub struct Notifier {
    /// The database.
    pub database: Database,
    /// The store, whose URLs are part of a render.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// Posts to `NOTIFY_URL`.
    pub client: Client,
    /// After this time a notification has failed.
    pub max_age: Duration,
}

impl Notifier {
    /// Posts until the service stops. Then it waits for the replies to what it has posted.
    pub async fn run(&self, wakeups: &Wakeups, shutdown: &Shutdown) {
        let mut posts = JoinSet::new();
        let mut health_due = Instant::now();
        while !shutdown.is_stopping() {
            let may_be_more = posts.len() < CONCURRENCY && Box::pin(self.start(&mut posts)).await;
            if health_due <= Instant::now() {
                self.report_health().await;
                health_due = Instant::now() + HEALTH_INTERVAL;
            }
            if posts.len() < CONCURRENCY && may_be_more {
                self.settle(finished(&mut posts)).await;
                continue;
            }
            let sleep = if posts.len() < CONCURRENCY { self.until_next().await } else { MAX_SLEEP };
            tokio::select! {
                Some(attempt) = posts.join_next() => {
                    let attempts = attempt.ok().into_iter().chain(finished(&mut posts)).collect();
                    self.settle(attempts).await;
                }
                () = wakeups.wait_for_notifications() => {}
                () = tokio::time::sleep(sleep) => {}
                () = shutdown.wait_for_stop() => {}
            }
        }
        let replies = async {
            while let Some(attempt) = posts.join_next().await {
                self.settle(attempt.into_iter().chain(finished(&mut posts)).collect()).await;
            }
        };
        // OK to break off: the leases end, and another process posts them again.
        shutdown.forced().run_until_cancelled(Box::pin(replies)).await;
    }

    /// Claims as many notifications as there is room for and starts to post them. Returns whether more may be due.
    async fn start(&self, posts: &mut JoinSet<EndedPost>) -> bool {
        let (pool, now) = (self.database.pool(), self.clock.now());
        let room = i64::try_from(CONCURRENCY - posts.len()).unwrap_or(i64::MAX);
        let claims = queue::claim(pool, now, self.client.timeout(), room);
        // OK to treat an error as an empty queue: the database logs it, and the notifier sleeps.
        let Ok(claims) = self.database.with_timeout(BACKGROUND_TIMEOUT, claims).await else { return false };
        let ids: Vec<_> = claims.claimed.iter().map(|it| it.render_id.as_str()).collect();
        let renders = views::renders(pool, &self.store, &ids);
        // Without their renders they are posted when their leases have ended.
        let Ok(renders) = self.database.with_timeout(BACKGROUND_TIMEOUT, renders).await else { return false };
        for claimed in claims.claimed {
            let message = renders.get(&claimed.render_id).and_then(|render| message(&claimed, render));
            let span = error_span!(
                "notification", render.id = claimed.render_id, notification.id = %NotificationId::new(claimed.id),
                notification.type = claimed.r#type, notification.attempt = claimed.attempt
            );
            posts.spawn(self.clone().attempt(claimed, message).instrument(span));
        }
        claims.may_be_more
    }

    /// One attempt.
    async fn attempt(self, claimed: ClaimedNotification, message: Option<NotificationMessage>) -> EndedPost {
        let was_posted = message.is_some();
        let reply = match message {
            Some(message) => self.client.post(&message, self.clock.now()).await,
            // Another replica may be newer and able to read it.
            None => {
                Reply::Failed { error: PostError::unanswered("this version cannot read the render"), retry_after: None }
            }
        };
        let (now, jitter) = (self.clock.now(), rand::random_range(JITTER));
        let outcome = decide(&reply, claimed.attempt, claimed.since, now, self.max_age, jitter);
        count_attempt(outcome, claimed.since, now);
        let error = match reply {
            Reply::Delivered => None,
            Reply::Gone { error } | Reply::Failed { error, .. } => Some(error),
        };
        let attempt = EndedPost { claimed, was_posted, outcome, error };
        // That a render cannot be read has been logged.
        if attempt.was_posted || attempt.outcome == PostOutcome::Failed {
            log(&attempt);
        }
        attempt
    }

    /// Records how attempts ended. If the database is down, they are posted again when their leases have ended.
    async fn settle(&self, attempts: Vec<EndedPost>) {
        if attempts.is_empty() {
            return;
        }
        let now = self.clock.now();
        let settled = || queue::settle(self.database.pool(), now, &attempts);
        // OK to ignore: the database logs its errors, and the leases end.
        let _ = self.database.with_timeout_and_retry(BACKGROUND_TIMEOUT, settled).await;
        if !attempts.iter().any(|it| it.was_posted) {
            return;
        }
        let is_accepting = attempts.iter().any(|it| it.outcome == PostOutcome::Delivered);
        let health = health::record(self.database.pool(), now, is_accepting);
        let _ = self.database.with_timeout(BACKGROUND_TIMEOUT, health).await;
    }

    async fn report_health(&self) {
        let now = self.clock.now();
        let turn = health::take_turn_to_report(self.database.pool(), now);
        if let Ok(Some(since)) = self.database.with_timeout(BACKGROUND_TIMEOUT, turn).await {
            error!(
                event = %LogEvent::NotificationsFailing, failing_s = (now - since).num_seconds(),
                "the application has accepted no notification for an hour or more: look at NOTIFY_URL and at its log; \
                 then `renderhook notify --failed` sends what has failed again"
            );
        }
    }

    /// How long until the next notification is due.
    async fn until_next(&self) -> Duration {
        let next: Result<_, DatabaseError> =
            self.database.with_timeout(BACKGROUND_TIMEOUT, queue::next_due(self.database.pool())).await;
        let next = next.ok().flatten().map(|due_at| (due_at - self.clock.now()).to_std().unwrap_or_default());
        next.unwrap_or(MAX_SLEEP).clamp(MIN_SLEEP, MAX_SLEEP)
    }
}

/// The attempts that have ended by now.
fn finished(posts: &mut JoinSet<EndedPost>) -> Vec<EndedPost> {
    std::iter::from_fn(|| posts.try_join_next()).filter_map(Result::ok).collect()
}

/// What is posted about a render as it is now.
fn message(claimed: &ClaimedNotification, render: &RenderView) -> Option<NotificationMessage> {
    NotificationMessage::new(NotificationId::new(claimed.id), &claimed.r#type, claimed.at, render).ok()
}

fn log(attempt: &EndedPost) {
    let EndedPost { claimed, outcome, error, .. } = attempt;
    let id = NotificationId::new(claimed.id);
    let reason = error.as_ref().map(|error| error.reason.as_str()).unwrap_or_default();
    match outcome {
        PostOutcome::Delivered => info!(
            event = %LogEvent::NotificationDelivered, render.id = claimed.render_id, notification.id = %id,
            notification.type = claimed.r#type, notification.attempt = claimed.attempt, "the application was notified"
        ),
        PostOutcome::Retry { at } => warn!(
            event = %LogEvent::NotificationRetried, render.id = claimed.render_id, notification.id = %id,
            notification.type = claimed.r#type, notification.attempt = claimed.attempt, next_attempt_at = %at,
            error = reason, "the application did not accept a notification"
        ),
        PostOutcome::Failed => error!(
            event = %LogEvent::NotificationFailed, render.id = claimed.render_id, notification.id = %id,
            notification.type = claimed.r#type, notification.attempt = claimed.attempt,
            error = reason, "a notification has failed: `renderhook notify` sends it again"
        ),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::runtime::{CapturedLog, LogFormat};

    #[test]
    fn the_log_has_the_status_of_an_answer_and_nothing_of_its_body() {
        let claimed = ClaimedNotification {
            position: 1,
            id: Uuid::nil(),
            render_id: "clx".to_owned(),
            r#type: "render.ready".to_owned(),
            at: DateTime::UNIX_EPOCH,
            attempt: 1,
            since: DateTime::UNIX_EPOCH,
            lease: Uuid::nil(),
        };
        let error =
            Some(PostError { reason: "HTTP 500".to_owned(), answer: "webhook-signature: v1,secret".to_owned() });
        let mut attempt = EndedPost { claimed, was_posted: true, outcome: PostOutcome::Failed, error };
        let (captured, _guard) = CapturedLog::start(LogFormat::Json, false, "info");
        for outcome in [PostOutcome::Retry { at: DateTime::UNIX_EPOCH }, PostOutcome::Failed] {
            attempt.outcome = outcome;
            log(&attempt);
            let line = captured.take();
            assert!(line.contains(r#""error":"HTTP 500""#) && !line.contains("secret"), "{line}");
        }
    }
}
