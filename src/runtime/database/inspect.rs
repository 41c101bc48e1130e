//! Inspects a database without changing it, for `renderhook check`.

use super::connect::DatabaseConnector;
use super::connect_error::ConnectError;
use super::migrations::{self, MigrationCounts};
use super::{DatabaseUrls, Pooling};

/// The properties of a database that `renderhook check` reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The version of Postgres, such as `18.1`.
    pub version: String,
    /// Whether it accepts no writes, like a standby.
    pub read_only: bool,
    /// How many of this program's migrations are not applied.
    pub missing_migrations: usize,
    /// How many applied migrations are unknown to this program, have changed, or failed halfway. If there are any, `serve`
    /// does not start.
    pub unknown_migrations: usize,
    /// Settings that are off although committed data may be lost in a crash without them.
    pub unsafe_settings: Vec<String>,
    /// The default isolation level, such as `read committed`.
    pub isolation: String,
    /// Whether the server ends statements that run for too long.
    pub has_statement_timeout: bool,
    /// Whether there is a pooler.
    pub pooling: Pooling,
}

/// Why a database could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement failed.
    #[error("{0}")]
    Statement(#[from] sqlx::Error),
}

/// Inspects the database at `urls` on separate connections.
pub async fn inspect_database(urls: &DatabaseUrls) -> Result<Inspection, InspectError> {
    let connector = DatabaseConnector::new(urls)?;
    let pooling = Pooling::detect(&connector).await?;
    let mut connection = connector.connect().await?;
    let row = sqlx::query!(
        r#"SELECT current_setting('server_version') AS "version!",
               current_setting('transaction_read_only')::boolean AS "read_only!",
               current_setting('transaction_isolation') AS "isolation!",
               current_setting('statement_timeout') <> '0' AS "has_statement_timeout!",
               ARRAY(SELECT name FROM pg_settings
                     WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
                     ORDER BY name) AS "unsafe_settings!: Vec<String>""#
    );
    let server = row.fetch_one(&mut connection).await?;
    let MigrationCounts { missing, unknown } = migrations::count(&mut connection).await?;
    Ok(Inspection {
        version: server.version,
        read_only: server.read_only,
        missing_migrations: missing,
        unknown_migrations: unknown,
        unsafe_settings: server.unsafe_settings,
        isolation: server.isolation,
        has_statement_timeout: server.has_statement_timeout,
        pooling,
    })
}
