//! Checks `NOTIFY_URL`: posts a signed `renderhook.test`.

use uuid::Uuid;

use super::line::Finding;
use crate::config::{Dependencies, NotifySetting};
use crate::domain::NotificationId;
use crate::notify::{NotificationMessage, Reply};
use crate::runtime::Clock;

/// The type of the message. No notification has it.
const TEST: &str = "renderhook.test";

pub(super) async fn check(dependencies: &Dependencies, clock: &Clock) -> Finding {
    let client = match &dependencies.notify {
        NotifySetting::Invalid => return Finding::invalid("NOTIFY_URL, NOTIFY_SECRET or NOTIFY_EVENTS"),
        NotifySetting::Unset => {
            return Finding::ok("NOTIFY_URL is not set: nothing is posted, GET /events has everything");
        }
        NotifySetting::Set(client) => client,
    };
    let now = clock.now();
    let Ok(message) = NotificationMessage::new(NotificationId::new(Uuid::new_v4()), TEST, now, serde_json::json!({}))
    else {
        return Finding::fail("the message cannot be written");
    };
    match client.post(&message, now).await {
        Reply::Delivered => Finding::ok(format!("accepted a signed {TEST}")),
        Reply::Gone { error } | Reply::Failed { error, .. } => {
            Finding::fail(format!("did not accept a signed {TEST}: {error}"))
        }
    }
}
