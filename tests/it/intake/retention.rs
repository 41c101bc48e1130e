//! Removing deliveries older than `EVENT_RETENTION`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::intake::{self, PartitionChange, RecordOutcome, RecordRules};
use renderhook::runtime::Clock;
use sqlx::PgPool;

use crate::support::observations::{at, completed, connections, record};
use crate::support::{App, Options, until};

/// The number of rows in each partition that has any.
async fn rows(pool: &PgPool) -> Vec<(String, i64)> {
    let counted = "SELECT tableoid::regclass::text, count(*) FROM deliveries GROUP BY 1 ORDER BY 1";
    sqlx::query_as(counted).fetch_all(pool).await.unwrap()
}

/// Inserts deliveries that arrived at these times.
async fn receive_at(pool: &PgPool, times: &[DateTime<Utc>]) {
    for (number, at) in times.iter().enumerate() {
        intake::record(pool, *at, &[completed(&format!("r{number}"), &[], None, *at)], &RecordRules::default())
            .await
            .unwrap();
    }
}

const MONTH: Duration = Duration::from_hours(24 * 30);

#[sqlx::test]
async fn partitions_are_created_in_advance_and_dropped_after_the_retention(pool: PgPool) {
    let now = Clock::system().now();
    let (today, old) = (now, now - TimeDelta::days(32));
    assert_eq!(intake::create_partitions(&pool, old).await.unwrap(), PartitionChange::Done);
    assert_eq!(intake::create_partitions(&pool, today).await.unwrap(), PartitionChange::Done);
    assert_eq!(intake::create_partitions(&pool, today).await.unwrap(), PartitionChange::Done, "once more");
    receive_at(&pool, &[old, old + TimeDelta::days(3), today, today + TimeDelta::days(3)]).await;
    let name = |at: DateTime<Utc>| at.format("deliveries_%Y%m%d").to_string();
    let remaining = [name(old + TimeDelta::days(3)), name(today), name(today + TimeDelta::days(3))];
    assert_eq!(rows(&pool).await.len(), 4);
    assert_eq!(intake::drop_old_partitions(&pool, now, MONTH).await.unwrap(), PartitionChange::Done);
    assert_eq!(rows(&pool).await, remaining.map(|name| (name, 1)));
    // A clock that is a year ahead removes nothing, because the database's clock disagrees.
    assert_eq!(
        intake::drop_old_partitions(&pool, now + TimeDelta::days(365), MONTH).await.unwrap(),
        PartitionChange::Done
    );
    assert_eq!(rows(&pool).await.len(), 3);
    let again = record(&pool, &[completed("r0", &[], None, at(9))]).await;
    assert_eq!(again[0].outcome, RecordOutcome::Duplicate, "deduplication does not need the deliveries");
}

#[sqlx::test]
async fn rows_without_a_partition_are_deleted_in_batches(pool: PgPool) {
    let now = Clock::system().now();
    let old = now - TimeDelta::days(31);
    receive_at(&pool, &[old, old, old, now]).await;
    assert_eq!(rows(&pool).await, [("deliveries_default".to_owned(), 4)]);
    let delete = |limit| intake::delete_old_deliveries(&pool, now, MONTH, false, limit);
    assert_eq!((delete(2).await.unwrap(), delete(2).await.unwrap(), delete(2).await.unwrap()), (2, 1, 0));
    // Today already has a row in the default partition, so it gets no partition of its own. Tomorrow does.
    assert_eq!(intake::create_partitions(&pool, now).await.unwrap(), PartitionChange::Done);
    receive_at(&pool, &[now, now + TimeDelta::days(1)]).await;
    let tomorrow = (now + TimeDelta::days(1)).format("deliveries_%Y%m%d").to_string();
    assert_eq!(rows(&pool).await, [(tomorrow, 1), ("deliveries_default".to_owned(), 2)]);
}

#[sqlx::test]
async fn recording_does_not_wait_for_a_partition_that_cannot_be_dropped(pool: PgPool) {
    let now = Clock::system().now();
    let old = now - TimeDelta::days(32);
    intake::create_partitions(&pool, old).await.unwrap();
    // Such as a backup that runs for hours.
    let reader = connections(&pool, 1);
    let mut backup = reader.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM deliveries").fetch_one(&mut *backup).await.unwrap();
    assert_eq!(intake::drop_old_partitions(&pool, now, MONTH).await.unwrap(), PartitionChange::Postponed);
    receive_at(&pool, &[now]).await;
    backup.rollback().await.unwrap();
    assert_eq!(intake::drop_old_partitions(&pool, now, MONTH).await.unwrap(), PartitionChange::Done);
}

#[sqlx::test]
async fn a_role_without_ownership_deletes_rows_instead_of_dropping_partitions(pool: PgPool) {
    let now = Clock::system().now();
    let old = now - TimeDelta::days(32);
    intake::create_partitions(&pool, old).await.unwrap();
    receive_at(&pool, &[old, now]).await;
    // Roles belong to the whole server, so one of an earlier run may exist.
    let role = format!("serving_{}", std::process::id());
    let granted = format!(
        "DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries TO {role}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(granted)).execute(&pool).await.unwrap();
    let serving = connections(&pool, 1);
    let set_role = sqlx::AssertSqlSafe(format!("SET ROLE {role}"));
    sqlx::raw_sql(set_role).execute(&serving).await.unwrap();
    assert_eq!(intake::create_partitions(&serving, now).await.unwrap(), PartitionChange::NotAllowed);
    assert_eq!(intake::drop_old_partitions(&serving, now, MONTH).await.unwrap(), PartitionChange::NotAllowed);
    assert_eq!(intake::delete_old_deliveries(&serving, now, MONTH, true, 10).await.unwrap(), 1);
    assert_eq!(rows(&pool).await.len(), 1);
    sqlx::raw_sql("RESET ROLE").execute(&serving).await.unwrap();
    let dropped = sqlx::AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    sqlx::raw_sql(dropped).execute(&pool).await.unwrap();
}

#[sqlx::test]
async fn the_service_creates_partitions_and_removes_old_deliveries(pool: PgPool) {
    receive_at(&pool, &[Clock::system().now() - TimeDelta::days(2)]).await;
    let app = App::start_with(&pool, Options::flags(&["--event-retention=1d"])).await;
    until("the old delivery to be removed", || async { rows(&pool).await.is_empty().then_some(()) }).await;
    app.stop().await.unwrap();
    let days: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_inherits WHERE inhparent = 'deliveries'::regclass")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(days, 1 + 4, "the default, today and three days ahead");
}
