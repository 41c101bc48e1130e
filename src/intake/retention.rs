//! `EVENT_RETENTION`: removes old deliveries, one day at a time, and old notifications in batches.
//!
//! `deliveries` is partitioned by the day of arrival (UTC). [`run_retention`] creates partitions in advance and drops old ones, which
//! leaves no dead rows behind.
//!
//! Guaranteed:
//! - Recording does not wait behind this while it waits for a lock longer than 100 ms, and works without it: rows of a day
//!   without a partition go to the default partition.
//! - A clock that jumps ahead removes nothing, because the database's clock must agree.
//!
//! A database role that does not own the tables cannot create or drop partitions. Then all rows are in the default partition,
//! and old ones are deleted in batches.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::feed;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, Shutdown, begin};

/// How often to create and drop partitions.
const INTERVAL: Duration = Duration::from_hours(1);
/// How many days ahead partitions are created: enough for a process that is down for a weekend.
const DAYS_AHEAD: u64 = 3;
/// The maximum number of rows deleted by one statement, so that none takes long.
const BATCH: i64 = 500;
/// How long to wait for a lock. Meanwhile, recording waits, too.
const SET_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '100ms'";
/// The advisory lock that prevents two processes from changing partitions at the same time.
const ADVISORY_LOCK: i64 = 0x7265_6e64_6572_686b;

/// The result of changing partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionChange {
    /// Done, now or before.
    Done,
    /// Another process is changing partitions, or a lock was not available in time. The next run tries again.
    Postponed,
    /// The database role must not change partitions.
    NotAllowed,
}

/// The name of a day's partition.
fn partition_name(day: NaiveDate) -> String {
    day.format("deliveries_%Y%m%d").to_string()
}

/// The day of the partition with this name.
fn day_of(name: &str) -> Option<NaiveDate> {
    // Without this check, `deliveries_2026112` would be November 2nd.
    let day = NaiveDate::parse_from_str(name, "deliveries_%Y%m%d").ok();
    day.filter(|day| partition_name(*day) == name)
}

/// Creates the partitions of today and the next days.
pub async fn create_partitions(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<PartitionChange> {
    let today = now.date_naive();
    let existing = partitioned_days(pool).await?;
    for day in (0..=DAYS_AHEAD).filter_map(|ahead| today.checked_add_days(Days::new(ahead))) {
        if existing.contains(&day) {
            continue;
        }
        match change_partitions(pool, &create_statements(day)).await? {
            PartitionChange::Done => {}
            other => return Ok(other),
        }
    }
    Ok(PartitionChange::Done)
}

/// Attaches a new table instead of creating it as a partition, because attaching does not block inserts.
fn create_statements(day: NaiveDate) -> String {
    let (name, next) = (partition_name(day), day.checked_add_days(Days::new(1)).unwrap_or(day));
    format!(
        "CREATE TABLE {name} (
             LIKE deliveries INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES INCLUDING STORAGE
         );
         ALTER TABLE deliveries ATTACH PARTITION {name}
             FOR VALUES FROM ('{day} 00:00:00+00') TO ('{next} 00:00:00+00')"
    )
}

/// Drops the partitions of days that ended at least `retention` ago, according to both clocks.
pub async fn drop_old_partitions(
    pool: &PgPool,
    now: DateTime<Utc>,
    retention: Duration,
) -> sqlx::Result<PartitionChange> {
    let before = earlier_time(pool, now).await? - retention;
    for day in partitioned_days(pool).await?.into_iter().filter(|day| *day < before.date_naive()) {
        match change_partitions(pool, &format!("DROP TABLE IF EXISTS {}", partition_name(day))).await? {
            PartitionChange::Done => {}
            other => return Ok(other),
        }
    }
    Ok(PartitionChange::Done)
}

/// Deletes up to `limit` rows that arrived at least `retention` ago, according to both clocks, and returns their number. Deletes
/// from the default partition, or with `all_partitions` from every partition.
pub async fn delete_old_deliveries(
    pool: &PgPool,
    now: DateTime<Utc>,
    retention: Duration,
    all_partitions: bool,
    limit: i64,
) -> sqlx::Result<u64> {
    let before = earlier_time(pool, now).await? - retention;
    let deleted = sqlx::query!(
        "DELETE FROM deliveries
         WHERE (id, received_at) IN (
             SELECT id, received_at FROM deliveries
             WHERE received_at < $1 AND ($2 OR tableoid = 'deliveries_default'::regclass)
             LIMIT $3 FOR UPDATE SKIP LOCKED
         )",
        before,
        all_partitions,
        limit,
    );
    Ok(deleted.execute(pool).await?.rows_affected())
}

/// Deletes a batch of the oldest notifications that were written at least `retention` ago, according to both clocks, and
/// returns their number.
async fn remove_notifications(pool: &PgPool, now: DateTime<Utc>, retention: Duration) -> sqlx::Result<u64> {
    let before = earlier_time(pool, now).await? - retention;
    feed::remove_old(pool, before, BATCH).await
}

/// The days that have a partition.
async fn partitioned_days(pool: &PgPool) -> sqlx::Result<Vec<NaiveDate>> {
    let names = sqlx::query_scalar!(
        r#"SELECT relname::text AS "name!" FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
           WHERE inhparent = 'deliveries'::regclass ORDER BY relname"#
    );
    Ok(names.fetch_all(pool).await?.iter().filter_map(|name| day_of(name)).collect())
}

/// The earlier of `now` and the time of the database's clock.
async fn earlier_time(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"SELECT least($1, now()) AS "now!""#, now).fetch_one(pool).await
}

/// Runs statements that change partitions, in one transaction.
async fn change_partitions(pool: &PgPool, statements: &str) -> sqlx::Result<PartitionChange> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let changed = change_in_transaction(&mut transaction, statements).await;
    if matches!(changed, Ok(PartitionChange::Done)) {
        return transaction.commit().await.map(|()| PartitionChange::Done);
    }
    // If it were only dropped, it would keep its locks until the connection is used again.
    transaction.rollback().await?;
    changed.or_else(expected_error)
}

async fn change_in_transaction(transaction: &mut PgConnection, statements: &str) -> sqlx::Result<PartitionChange> {
    sqlx::raw_sql(SET_LOCK_TIMEOUT).execute(&mut *transaction).await?;
    let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "locked!""#, ADVISORY_LOCK);
    if !locked.fetch_one(&mut *transaction).await? {
        return Ok(PartitionChange::Postponed);
    }
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(transaction).await?;
    Ok(PartitionChange::Done)
}

/// The meaning of errors that are expected.
fn expected_error(error: sqlx::Error) -> sqlx::Result<PartitionChange> {
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
        Some("42501") => Ok(PartitionChange::NotAllowed), // insufficient_privilege
        Some("55P03" | "40P01") => Ok(PartitionChange::Postponed), // lock_not_available, deadlock_detected
        // duplicate_table: another process was faster. check_violation: the default partition already has rows of this day
        // and receives the following ones, too.
        Some("42P07" | "23514") => Ok(PartitionChange::Done),
        _ => Err(error),
    }
}

/// Creates partitions and removes deliveries older than `retention`, until the service stops.
pub async fn run_retention(database: &Database, clock: &Clock, retention: Duration, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let (pool, now) = (database.pool(), clock.now());
        let _ = database.with_timeout(BACKGROUND_TIMEOUT, create_partitions(pool, now)).await;
        let dropped = database.with_timeout(BACKGROUND_TIMEOUT, drop_old_partitions(pool, now, retention)).await;
        let all_partitions = matches!(dropped, Ok(PartitionChange::NotAllowed));
        let deleted = database
            .with_timeout(BACKGROUND_TIMEOUT, delete_old_deliveries(pool, now, retention, all_partitions, BATCH))
            .await;
        let removed = database.with_timeout(BACKGROUND_TIMEOUT, remove_notifications(pool, now, retention)).await;
        if deleted.is_ok_and(|deleted| deleted > 0) || removed.is_ok_and(|removed| removed > 0) {
            continue;
        }
        shutdown.sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_names_contain_the_day() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 25).unwrap();
        assert_eq!(partition_name(day), "deliveries_20261125");
        assert_eq!(day_of("deliveries_20261125"), Some(day));
        for other in ["deliveries_default", "deliveries_2026112", "deliveries_20261332", "renders"] {
            assert_eq!(day_of(other), None, "{other}");
        }
    }
}
