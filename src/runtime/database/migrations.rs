//! Applies missing migrations.
//!
//! Each migration runs in its own transaction, which takes a transaction-level advisory lock. Several processes can start
//! at once, a process that crashes leaves nothing behind, and poolers work too. If no migration is missing, nothing is
//! locked, and read access is enough.

use std::time::Duration;

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, Migrator};
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tracing::{info, warn};

use super::connect::DatabaseConnector;
use super::connect_error::ConnectError;
use super::is_undefined_table;
use crate::runtime::log::LogEvent;

/// All migrations, embedded at build time.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// The advisory lock held while a migration is applied: "renderho" in ASCII.
const LOCK: i64 = 0x7265_6e64_6572_686f;
/// How long to wait for another session that holds this lock or locks a table.
const LOCK_LIMIT: Duration = Duration::from_mins(1);
/// How long to wait before trying again to get the lock.
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(250);

/// Why the migrations could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database's schema belongs to another version of renderhook.
    #[error("its schema is from another version: {0}. Run the version of renderhook that applied it, or a newer one")]
    OtherVersion(#[source] MigrateError),
    /// Another session holds a lock.
    #[error(
        "another session has held the lock for {} s: see pg_locks for what holds it, and end that session",
        LOCK_LIMIT.as_secs()
    )]
    Locked,
    /// The role lacks the privilege to read or change the schema.
    #[error(
        "{0}: run `renderhook migrate` as the owner of the tables, and grant this role its privileges (docs/database.md)"
    )]
    Forbidden(String),
    /// A migration failed.
    #[error("a migration failed: {0}")]
    Failed(#[source] MigrateError),
}

impl From<MigrateError> for MigrationError {
    fn from(error: MigrateError) -> Self {
        let database_error = match &error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.as_database_error(),
            _ => None,
        };
        match database_error.map(|error| (error.code().unwrap_or_default(), error.message())) {
            // insufficient_privilege
            Some((code, message)) if code == "42501" => Self::Forbidden(message.to_owned()),
            // lock_not_available, or query_canceled while waiting for a lock
            Some((code, _)) if code == "55P03" || code == "57014" => Self::Locked,
            _ => Self::Failed(error),
        }
    }
}

impl From<sqlx::Error> for MigrationError {
    fn from(error: sqlx::Error) -> Self {
        MigrateError::Execute(error).into()
    }
}

/// How the database's migrations differ from this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MigrationCounts {
    /// This program's migrations that are not applied.
    pub(super) missing: usize,
    /// Applied migrations that are unknown to this program, have changed, or failed halfway.
    pub(super) unknown: usize,
}

/// Counts missing and unknown migrations.
pub(super) async fn count(connection: &mut PgConnection) -> sqlx::Result<MigrationCounts> {
    // Not checked at build time, because the table belongs to sqlx.
    let applied = sqlx::query_as::<_, (i64, Vec<u8>, bool)>("SELECT version, checksum, success FROM _sqlx_migrations");
    let applied: Vec<_> = match applied.persistent(false).fetch_all(connection).await {
        Err(error) if is_undefined_table(&error) => Vec::new(),
        applied => applied?,
    };
    let is_ours = |(version, checksum, success): &(i64, Vec<u8>, bool)| {
        *success && MIGRATIONS.iter().any(|known| known.version == *version && *known.checksum == **checksum)
    };
    let ours = applied.iter().filter(|applied| is_ours(applied)).count();
    Ok(MigrationCounts { missing: MIGRATIONS.iter().count() - ours, unknown: applied.len() - ours })
}

/// Applies all missing migrations. Returns how many were applied.
pub(super) async fn apply(connector: &DatabaseConnector) -> Result<usize, MigrationError> {
    let mut connection = connector.connect_direct().await?;
    match count(&mut connection).await.map_err(MigrationError::from) {
        Ok(MigrationCounts { missing: 0, unknown: 0 }) => return Ok(0),
        Ok(_) | Err(MigrationError::Locked) => {}
        Err(error) => return Err(error),
    }
    let deadline = Instant::now() + LOCK_LIMIT;
    let (mut applied, mut waiting) = (0, false);
    loop {
        match apply_next(&mut connection).await {
            Ok(MigrationStep::Applied(version)) => {
                info!(event = %LogEvent::DatabaseMigrated, migration = version, "applied a migration");
                applied += 1;
            }
            Ok(MigrationStep::Complete) => return Ok(applied),
            Ok(MigrationStep::Locked) | Err(MigrationError::Locked) if Instant::now() < deadline => {
                if !waiting {
                    warn!(event = %LogEvent::DatabaseWaiting, error = "locked", "waiting for another session that blocks the migrations");
                    waiting = true;
                }
                tokio::time::sleep(LOCK_RETRY_DELAY).await;
            }
            Ok(MigrationStep::Locked) => return Err(MigrationError::Locked),
            Err(error) => return Err(error),
        }
    }
}

/// The result of one call to [`apply_next`].
enum MigrationStep {
    Applied(i64),
    Complete,
    Locked,
}

/// Applies the first migration that is missing.
async fn apply_next(connection: &mut PgConnection) -> Result<MigrationStep, MigrationError> {
    const TABLE: &str = "_sqlx_migrations";
    let mut transaction = connection.begin().await?;
    // `SET LOCAL` affects this transaction only. With a short lock_timeout, other sessions never queue for long behind a
    // migration that itself waits for a table.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '2s'").execute(&mut *transaction).await?;
    let locked = sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_xact_lock($1)").bind(LOCK).persistent(false);
    if !locked.fetch_one(&mut *transaction).await? {
        return Ok(MigrationStep::Locked);
    }
    transaction.ensure_migrations_table(TABLE).await?;
    if let Some(version) = transaction.dirty_version(TABLE).await? {
        return Err(MigrationError::OtherVersion(MigrateError::Dirty(version)));
    }
    let applied = transaction.list_applied_migrations(TABLE).await?;
    let Some(next) = first_missing(&applied)? else {
        transaction.rollback().await?;
        return Ok(MigrationStep::Complete);
    };
    transaction.apply(TABLE, next).await?;
    transaction.commit().await?;
    Ok(MigrationStep::Applied(next.version))
}

/// The first missing migration. It is an error if an applied one is unknown or has changed.
fn first_missing(applied: &[AppliedMigration]) -> Result<Option<&'static Migration>, MigrationError> {
    for migration in applied {
        let known = MIGRATIONS.iter().find(|known| known.version == migration.version);
        let Some(known) = known else {
            return Err(MigrationError::OtherVersion(MigrateError::VersionMissing(migration.version)));
        };
        if known.checksum != migration.checksum {
            return Err(MigrationError::OtherVersion(MigrateError::VersionMismatch(migration.version)));
        }
    }
    Ok(MIGRATIONS.iter().find(|known| applied.iter().all(|migration| migration.version != known.version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_runs_in_a_transaction() {
        assert!(MIGRATIONS.iter().all(|migration| !migration.no_tx), "apply_next runs each in a transaction");
    }
}
