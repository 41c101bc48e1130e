//! Old notifications are removed, and cursors that point to them are refused.

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::domain::{Notification, NotificationType};
use renderhook::feed::{FeedCursor, FeedError, FeedFilter, FeedPage, Outbox, PostedTypes, read, remove_old};
use renderhook::runtime::Tallies;
use sqlx::PgPool;

use crate::support::observations::now;

fn all() -> FeedFilter {
    FeedFilter { types: NotificationType::ALL.to_vec(), render: None }
}

async fn write(pool: &PgPool, at: DateTime<Utc>, posted: PostedTypes, count: usize) {
    let mut transaction = pool.begin().await.unwrap();
    let mut outbox = Outbox::default();
    outbox.extend("a", std::iter::repeat_n(Notification::Ready, count));
    outbox.write(&mut transaction, Tallies::default(), posted, at).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn is_expired(pool: &PgPool, cursor: FeedCursor) -> bool {
    matches!(read(pool, &all(), Some(cursor), 10).await, Err(FeedError::Expired))
}

#[sqlx::test]
async fn old_notifications_are_removed_in_batches_and_cursors_before_them_have_expired(pool: PgPool) {
    let old = now() - TimeDelta::days(31);
    let beginning = FeedPage::at_end(&pool).await.unwrap().next;
    write(&pool, old, PostedTypes::default(), 5).await;
    write(&pool, now(), PostedTypes::default(), 1).await;
    let first = read(&pool, &all(), None, 1).await.unwrap().next;
    let before = now() - TimeDelta::days(30);
    assert_eq!(remove_old(&pool, before, 3).await.unwrap(), 3);
    assert!(is_expired(&pool, beginning).await && is_expired(&pool, first).await);
    assert_eq!(remove_old(&pool, before, 3).await.unwrap(), 2);
    assert_eq!(remove_old(&pool, before, 3).await.unwrap(), 0);
    let page = read(&pool, &all(), None, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.entries[0].at), (1, now()));
    assert!(!is_expired(&pool, page.next).await);
}

#[sqlx::test]
async fn a_notification_that_is_still_to_be_posted_stays(pool: PgPool) {
    let posted: PostedTypes = [NotificationType::Ready].into_iter().collect();
    write(&pool, now() - TimeDelta::days(29), posted, 1).await;
    assert_eq!(remove_old(&pool, now(), 10).await.unwrap(), 0);
    sqlx::query("UPDATE notifications SET state = 'failed', due_at = NULL").execute(&pool).await.unwrap();
    assert_eq!(remove_old(&pool, now(), 10).await.unwrap(), 1);
}

#[sqlx::test]
async fn a_notification_that_nobody_posts_is_removed_in_the_end(pool: PgPool) {
    let posted: PostedTypes = [NotificationType::Ready].into_iter().collect();
    write(&pool, now() - TimeDelta::days(31), posted, 1).await;
    assert_eq!(remove_old(&pool, now(), 10).await.unwrap(), 1);
}

#[sqlx::test]
async fn a_cursor_of_another_database_or_of_one_that_was_restored_has_expired(pool: PgPool) {
    write(&pool, now(), PostedTypes::default(), 3).await;
    let end = FeedPage::at_end(&pool).await.unwrap().next;
    assert!(!is_expired(&pool, end).await);
    // As after a restore of a backup that was made two notifications earlier.
    sqlx::query("DELETE FROM notifications WHERE position > 1").execute(&pool).await.unwrap();
    sqlx::query("SELECT setval('notifications_position_seq', 1)").execute(&pool).await.unwrap();
    assert!(is_expired(&pool, end).await);
    let cursor = FeedPage::at_end(&pool).await.unwrap().next;
    sqlx::query("UPDATE feed SET id = gen_random_uuid()").execute(&pool).await.unwrap();
    assert!(is_expired(&pool, cursor).await);
}
