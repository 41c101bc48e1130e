//! The schema: which migrations are missing, and applying them.
//!
//! Each migration is applied in a transaction of its own, which holds a lock that lasts as long as the transaction:
//! any number of processes may start at once, nothing is left behind by one that dies, and it works through a pooler as
//! well. Where nothing is missing, nothing is locked and no right is needed but to read.

use std::time::Duration;

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, Migrator};
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tracing::{info, warn};

use super::connect::{ConnectError, Connector};
use super::is_undefined_table;
use crate::runtime::log::LogEvent;

/// The schema, compiled in.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// The lock that is held while a migration is applied: "renderho" in ASCII.
const LOCK: i64 = 0x7265_6e64_6572_686f;
/// How long another process may hold the lock, or a table, before this one gives up.
const LOCK_LIMIT: Duration = Duration::from_mins(1);
/// How long to wait before looking at the lock again.
const LOCK_AGAIN: Duration = Duration::from_millis(250);

/// Why the migrations could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database's migrations are not this version's.
    #[error("its schema is another version's: {0}. Run the version of renderhook that applied it, or a newer one")]
    Foreign(#[source] MigrateError),
    /// Another session is in the way.
    #[error(
        "another session has held the lock for {} s: see pg_locks for what holds it, and end that session",
        LOCK_LIMIT.as_secs()
    )]
    Locked,
    /// The role lacks the right to read the schema, or to change it.
    #[error(
        "{0}: run `renderhook migrate` as the owner of the tables, and grant this role its rights (docs/database.md)"
    )]
    Forbidden(String),
    /// A migration failed.
    #[error("a migration failed: {0}")]
    Failed(#[source] MigrateError),
}

impl From<MigrateError> for MigrationError {
    fn from(error: MigrateError) -> Self {
        let refusal = match &error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.as_database_error(),
            _ => None,
        };
        match refusal.map(|refusal| (refusal.code().unwrap_or_default(), refusal.message())) {
            Some((code, message)) if code == "42501" => Self::Forbidden(message.to_owned()),
            // A lock, or statement_timeout while waiting for one.
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

/// The migrations of a database, beside this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Applied {
    /// How many of this program's are not applied.
    pub(super) missing: usize,
    /// How many are applied that this program does not have, has otherwise, or that broke off: it would not start.
    pub(super) foreign: usize,
}

/// Looks which migrations are applied.
pub(super) async fn applied(connection: &mut PgConnection) -> sqlx::Result<Applied> {
    // Not checked at build time, because the table is sqlx's own.
    let applied = sqlx::query_as::<_, (i64, Vec<u8>, bool)>("SELECT version, checksum, success FROM _sqlx_migrations");
    let applied: Vec<_> = match applied.persistent(false).fetch_all(connection).await {
        Err(error) if is_undefined_table(&error) => Vec::new(),
        applied => applied?,
    };
    let is_ours = |(version, checksum, success): &(i64, Vec<u8>, bool)| {
        *success && MIGRATIONS.iter().any(|known| known.version == *version && *known.checksum == **checksum)
    };
    let ours = applied.iter().filter(|applied| is_ours(applied)).count();
    Ok(Applied { missing: MIGRATIONS.iter().count() - ours, foreign: applied.len() - ours })
}

/// Applies what is missing. Returns how many migrations that were.
pub(super) async fn apply(connector: &Connector) -> Result<usize, MigrationError> {
    let mut connection = connector.connect_direct().await?;
    match applied(&mut connection).await.map_err(MigrationError::from) {
        Ok(Applied { missing: 0, foreign: 0 }) => return Ok(0),
        Ok(_) | Err(MigrationError::Locked) => {}
        Err(error) => return Err(error),
    }
    let deadline = Instant::now() + LOCK_LIMIT;
    let (mut count, mut waiting) = (0, false);
    loop {
        match apply_next(&mut connection).await {
            Ok(Step::Applied(version)) => {
                info!(event = %LogEvent::DatabaseMigrated, migration = version, "a migration was applied");
                count += 1;
            }
            Ok(Step::Complete) => return Ok(count),
            Ok(Step::Locked) | Err(MigrationError::Locked) if Instant::now() < deadline => {
                if !waiting {
                    warn!(event = %LogEvent::DatabaseWaiting, error = "locked", "another session is in the way of the migrations: waiting for it");
                    waiting = true;
                }
                tokio::time::sleep(LOCK_AGAIN).await;
            }
            Ok(Step::Locked) => return Err(MigrationError::Locked),
            Err(error) => return Err(error),
        }
    }
}

/// What became of a try at the next migration.
enum Step {
    Applied(i64),
    Complete,
    Locked,
}

/// Applies the first migration that is missing.
async fn apply_next(connection: &mut PgConnection) -> Result<Step, MigrationError> {
    const TABLE: &str = "_sqlx_migrations";
    let mut transaction = connection.begin().await?;
    // For this transaction alone: nobody waits long behind a migration that waits for a table itself.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '2s'").execute(&mut *transaction).await?;
    let locked = sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_xact_lock($1)").bind(LOCK).persistent(false);
    if !locked.fetch_one(&mut *transaction).await? {
        return Ok(Step::Locked);
    }
    transaction.ensure_migrations_table(TABLE).await?;
    if let Some(version) = transaction.dirty_version(TABLE).await? {
        return Err(MigrationError::Foreign(MigrateError::Dirty(version)));
    }
    let applied = transaction.list_applied_migrations(TABLE).await?;
    let Some(next) = first_missing(&applied)? else {
        transaction.rollback().await?;
        return Ok(Step::Complete);
    };
    transaction.apply(TABLE, next).await?;
    transaction.commit().await?;
    Ok(Step::Applied(next.version))
}

/// The first migration that is missing; an error if one of those that are there is not this program's.
fn first_missing(applied: &[AppliedMigration]) -> Result<Option<&'static Migration>, MigrationError> {
    for migration in applied {
        let known = MIGRATIONS.iter().find(|known| known.version == migration.version);
        let Some(known) = known else {
            return Err(MigrationError::Foreign(MigrateError::VersionMissing(migration.version)));
        };
        if known.checksum != migration.checksum {
            return Err(MigrationError::Foreign(MigrateError::VersionMismatch(migration.version)));
        }
    }
    Ok(MIGRATIONS.iter().find(|known| applied.iter().all(|migration| migration.version != known.version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_can_run_in_a_transaction() {
        assert!(MIGRATIONS.iter().all(|migration| !migration.no_tx), "apply_next runs each in a transaction");
    }
}
