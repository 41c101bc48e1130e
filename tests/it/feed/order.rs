//! No reader misses a notification, however many transactions write at once.

use std::collections::HashSet;

use renderhook::domain::{Notification, NotificationType, RenderId};
use renderhook::feed::{FeedCursor, FeedEntry, FeedFilter, FeedPage, Outbox, PostedTypes, read};
use renderhook::runtime::Tallies;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::observations::{connections, now};

const WRITERS: usize = 12;
const TRANSACTIONS: usize = 40;

fn all() -> FeedFilter {
    FeedFilter { types: NotificationType::ALL.to_vec(), render: None }
}

/// Writes notifications about one render in one transaction, which is committed unless `fails`.
async fn write(pool: &PgPool, render_id: &str, count: usize, fails: bool) {
    let mut transaction = pool.begin().await.unwrap();
    let mut outbox = Outbox::default();
    outbox.extend(render_id, std::iter::repeat_n(Notification::Ready, count));
    outbox.write(&mut transaction, Tallies::default(), PostedTypes::default(), now()).await.unwrap();
    tokio::task::yield_now().await;
    if fails { transaction.rollback().await.unwrap() } else { transaction.commit().await.unwrap() }
}

/// Follows the cursors until everything is written and read.
async fn follow(pool: PgPool, limit: usize, done: watch::Receiver<bool>) -> Vec<FeedEntry> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        // Before the page is read, so that its end is the end.
        let was_done = *done.borrow();
        let page = read(&pool, &all(), cursor, limit).await.unwrap();
        cursor = Some(page.next);
        entries.extend(page.entries);
        if page.is_end && was_done {
            return entries;
        }
    }
}

#[sqlx::test]
async fn readers_see_every_committed_notification_once_and_in_one_order_while_many_write(pool: PgPool) {
    let (finished, done) = watch::channel(false);
    let mut readers = JoinSet::new();
    for limit in [1, 7, 100] {
        readers.spawn(follow(connections(&pool, 1), limit, done.clone()));
    }
    let mut writers = JoinSet::new();
    // Two processes with connections of their own, and a rollback in every third transaction.
    let pools = [connections(&pool, 6), connections(&pool, 6)];
    for (writer, pool) in (0..WRITERS).zip(pools.iter().cycle()) {
        let pool = pool.clone();
        writers.spawn(async move {
            for number in 0..TRANSACTIONS {
                write(&pool, &format!("{writer}-{number}"), 1 + number % 3, number % 3 == 2).await;
            }
        });
    }
    writers.join_all().await;
    finished.send(true).unwrap();
    let read = readers.join_all().await;
    let committed: Vec<(i64, String)> =
        sqlx::query_as("SELECT position, render_id FROM notifications ORDER BY position")
            .fetch_all(&pool)
            .await
            .unwrap();
    let expected: Vec<_> = committed.into_iter().map(|(_, id)| id).collect();
    let expected_count: usize =
        (0..TRANSACTIONS).filter(|it| it % 3 != 2).map(|it| 1 + it % 3).sum::<usize>() * WRITERS;
    assert_eq!(expected.len(), expected_count);
    for entries in read {
        let ids: HashSet<_> = entries.iter().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), entries.len(), "none twice");
        assert_eq!(entries.into_iter().map(|entry| entry.render_id).collect::<Vec<_>>(), expected);
    }
}

#[sqlx::test]
async fn a_long_transaction_elsewhere_holds_nothing_back(pool: PgPool) {
    let other = connections(&pool, 1);
    let mut long = other.begin().await.unwrap();
    sqlx::query("INSERT INTO credits (render_id, value, source, at) VALUES ('x', 1, 'poll', now())")
        .execute(&mut *long)
        .await
        .unwrap();
    write(&pool, "a", 2, false).await;
    assert_eq!(read(&pool, &all(), None, 10).await.unwrap().entries.len(), 2);
    long.rollback().await.unwrap();
}

#[sqlx::test]
async fn a_transaction_that_does_not_commit_holds_later_ones_back_and_they_are_not_overtaken(pool: PgPool) {
    let slow = connections(&pool, 1);
    let mut open = slow.begin().await.unwrap();
    let mut outbox = Outbox::default();
    outbox.add("slow", Notification::Ready);
    outbox.write(&mut open, Tallies::default(), PostedTypes::default(), now()).await.unwrap();
    let writer = {
        let pool = connections(&pool, 1);
        tokio::spawn(async move { write(&pool, "next", 1, false).await })
    };
    assert_eq!(read(&pool, &all(), None, 10).await.unwrap().entries, []);
    open.commit().await.unwrap();
    writer.await.unwrap();
    let ids: Vec<_> = read(&pool, &all(), None, 10).await.unwrap().entries.into_iter().map(|it| it.render_id).collect();
    assert_eq!(ids, ["slow", "next"]);
}

#[sqlx::test]
async fn filters_by_type_and_render_and_pages_of_rare_types_still_advance(pool: PgPool) {
    write(&pool, "a", 1_500, false).await;
    let mut transaction = pool.begin().await.unwrap();
    let mut outbox = Outbox::default();
    outbox.add("a", Notification::Failed);
    outbox.add("b", Notification::Failed);
    outbox.write(&mut transaction, Tallies::default(), PostedTypes::default(), now()).await.unwrap();
    transaction.commit().await.unwrap();
    let failed = FeedFilter { types: vec![NotificationType::Failed], render: None };
    let page = read(&pool, &failed, None, 1).await.unwrap();
    assert_eq!((page.entries.len(), page.is_end), (1, false));
    let page = read(&pool, &failed, Some(page.next), 1).await.unwrap();
    assert_eq!((page.entries[0].render_id.as_str(), page.is_end), ("b", true));
    let of_a = FeedFilter { render: Some("a".parse::<RenderId>().unwrap()), ..failed };
    assert_eq!(read(&pool, &of_a, None, 10).await.unwrap().entries.len(), 1);
    let canceled = FeedFilter { types: vec![NotificationType::Canceled], render: None };
    let page = read(&pool, &canceled, None, 10).await.unwrap();
    assert!(page.entries.is_empty() && page.is_end);
    let end = FeedPage::at_end(&pool).await.unwrap();
    assert_eq!(page.next, end.next, "a page without entries advances, too");
    let cursor: FeedCursor = end.next.to_string().parse().unwrap();
    assert!(read(&pool, &all(), Some(cursor), 10).await.unwrap().entries.is_empty());
}
