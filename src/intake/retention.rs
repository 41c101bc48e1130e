//! `EVENT_RETENTION`: old deliveries are removed, a day at a time, and old notifications in batches.
//!
//! `deliveries` is partitioned by the day of arrival (UTC). [`run`] creates the days ahead and drops the old ones whole,
//! which leaves no dead rows behind. Guaranteed: recording never waits for it longer than 100 ms, never needs it (a day
//! that was not created has its rows in the default partition), and a clock that jumps ahead removes nothing, because the
//! database's clock has to agree.
//!
//! A role that owns no tables cannot create or drop days. Then every row is in the default partition, and old ones are
//! deleted there in batches.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::feed;
use crate::runtime::Clock;
use crate::runtime::Shutdown;
use crate::runtime::{BACKGROUND_TIMEOUT, Database};

/// How often it is looked at.
const EVERY: Duration = Duration::from_hours(1);
/// How many days are there ahead of today: enough for a process that is down for a weekend.
const DAYS_AHEAD: u64 = 3;
/// How many rows a statement deletes from the default partition, so that none runs long.
const BATCH: i64 = 500;
/// How long a lock is waited for: recording waits behind it for as long.
const LOCK: &str = "SET LOCAL lock_timeout = '100ms'";
/// Which advisory lock keeps two processes from changing the partitions at once.
const ADVISORY_LOCK: i64 = 0x7265_6e64_6572_686b;

/// What became of changing a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is done, or was done before.
    Done,
    /// Another process is at it, or a lock was not to be had in time: the next look tries again.
    Later,
    /// The database role may not.
    NotAllowed,
}

/// The name of a day's partition.
fn partition(day: NaiveDate) -> String {
    day.format("deliveries_%Y%m%d").to_string()
}

/// The day of a partition, by its name.
fn day_of(name: &str) -> Option<NaiveDate> {
    // Parsing alone would take `deliveries_2026112` for November 2nd.
    let day = NaiveDate::parse_from_str(name, "deliveries_%Y%m%d").ok();
    day.filter(|day| partition(*day) == name)
}

/// Creates today's partition and those of the next days.
pub async fn create_days(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Change> {
    let today = now.date_naive();
    let existing = days(pool).await?;
    for day in (0..=DAYS_AHEAD).filter_map(|ahead| today.checked_add_days(Days::new(ahead))) {
        if existing.contains(&day) {
            continue;
        }
        match change(pool, &create(day)).await? {
            Change::Done => {}
            other => return Ok(other),
        }
    }
    Ok(Change::Done)
}

/// A new table is attached rather than created in place, because attaching locks no insert out.
fn create(day: NaiveDate) -> String {
    let (name, next) = (partition(day), day.checked_add_days(Days::new(1)).unwrap_or(day));
    format!(
        "CREATE TABLE {name} (
             LIKE deliveries INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES INCLUDING STORAGE
         );
         ALTER TABLE deliveries ATTACH PARTITION {name}
             FOR VALUES FROM ('{day} 00:00:00+00') TO ('{next} 00:00:00+00')"
    )
}

/// Drops the partitions of days that ended `retention` ago, by both clocks.
pub async fn drop_days(pool: &PgPool, now: DateTime<Utc>, retention: Duration) -> sqlx::Result<Change> {
    let before = earlier_of(pool, now).await? - retention;
    for day in days(pool).await?.into_iter().filter(|day| *day < before.date_naive()) {
        match change(pool, &format!("DROP TABLE IF EXISTS {}", partition(day))).await? {
            Change::Done => {}
            other => return Ok(other),
        }
    }
    Ok(Change::Done)
}

/// Deletes up to `limit` rows that came `retention` ago, by both clocks, from where no whole day can be dropped; and says
/// how many they were. With `everywhere`, that is each partition.
pub async fn delete_old(
    pool: &PgPool,
    now: DateTime<Utc>,
    retention: Duration,
    everywhere: bool,
    limit: i64,
) -> sqlx::Result<u64> {
    let before = earlier_of(pool, now).await? - retention;
    let deleted = sqlx::query!(
        "DELETE FROM deliveries
         WHERE (id, received_at) IN (
             SELECT id, received_at FROM deliveries
             WHERE received_at < $1 AND ($2 OR tableoid = 'deliveries_default'::regclass)
             LIMIT $3 FOR UPDATE SKIP LOCKED
         )",
        before,
        everywhere,
        limit,
    );
    Ok(deleted.execute(pool).await?.rows_affected())
}

/// Removes the oldest notifications that were written `retention` ago, by both clocks; and says how many they were.
async fn remove_notifications(pool: &PgPool, now: DateTime<Utc>, retention: Duration) -> sqlx::Result<u64> {
    let before = earlier_of(pool, now).await? - retention;
    feed::remove_old(pool, before, BATCH).await
}

/// The days that have a partition.
async fn days(pool: &PgPool) -> sqlx::Result<Vec<NaiveDate>> {
    let names = sqlx::query_scalar!(
        r#"SELECT relname::text AS "name!" FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
           WHERE inhparent = 'deliveries'::regclass ORDER BY relname"#
    );
    Ok(names.fetch_all(pool).await?.iter().filter_map(|name| day_of(name)).collect())
}

async fn earlier_of(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"SELECT least($1, now()) AS "now!""#, now).fetch_one(pool).await
}

/// Runs statements that change the partitions, in a transaction of their own.
async fn change(pool: &PgPool, statements: &str) -> sqlx::Result<Change> {
    let mut transaction = pool.begin().await?;
    let changed = change_within(&mut transaction, statements).await;
    if matches!(changed, Ok(Change::Done)) {
        return transaction.commit().await.map(|()| Change::Done);
    }
    // Dropped, it would be rolled back at some later time, and hold its locks until then.
    transaction.rollback().await?;
    changed.or_else(refused)
}

async fn change_within(transaction: &mut PgConnection, statements: &str) -> sqlx::Result<Change> {
    sqlx::raw_sql(LOCK).execute(&mut *transaction).await?;
    let alone = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "alone!""#, ADVISORY_LOCK);
    if !alone.fetch_one(&mut *transaction).await? {
        return Ok(Change::Later);
    }
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(transaction).await?;
    Ok(Change::Done)
}

/// What Postgres may say that is no defect.
fn refused(error: sqlx::Error) -> sqlx::Result<Change> {
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
        Some("42501") => Ok(Change::NotAllowed),      // insufficient_privilege
        Some("55P03" | "40P01") => Ok(Change::Later), // lock_not_available, deadlock_detected
        // duplicate_table: another process was faster. check_violation: the default partition has rows of this day, and
        // keeps those that follow.
        Some("42P07" | "23514") => Ok(Change::Done),
        _ => Err(error),
    }
}

/// Creates days and removes what is older than `retention`, again and again, until it is time to stop.
pub async fn run(database: &Database, clock: &Clock, retention: Duration, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let (pool, now) = (database.pool(), clock.now());
        let _ = database.with_timeout(BACKGROUND_TIMEOUT, create_days(pool, now)).await;
        let dropped = database.with_timeout(BACKGROUND_TIMEOUT, drop_days(pool, now, retention)).await;
        let everywhere = matches!(dropped, Ok(Change::NotAllowed));
        let deleted =
            database.with_timeout(BACKGROUND_TIMEOUT, delete_old(pool, now, retention, everywhere, BATCH)).await;
        let removed = database.with_timeout(BACKGROUND_TIMEOUT, remove_notifications(pool, now, retention)).await;
        if deleted.is_ok_and(|deleted| deleted > 0) || removed.is_ok_and(|removed| removed > 0) {
            continue;
        }
        shutdown.sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_after_its_day_and_found_by_its_name() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 25).unwrap();
        assert_eq!(partition(day), "deliveries_20261125");
        assert_eq!(day_of("deliveries_20261125"), Some(day));
        for other in ["deliveries_default", "deliveries_2026112", "deliveries_20261332", "renders"] {
            assert_eq!(day_of(other), None, "{other}");
        }
    }
}
