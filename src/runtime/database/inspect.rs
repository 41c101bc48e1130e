//! What is seen of a database without changing it.

use super::connect::{ConnectError, Connector};
use super::migrations::{self, Applied};
use super::{DatabaseUrls, Pooling};

/// What is seen of a database without changing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Its version, such as `18.1`.
    pub version: String,
    /// Whether it takes no writes, such as a standby.
    pub read_only: bool,
    /// How many of this program's migrations are not applied.
    pub missing: usize,
    /// How many are applied that this program does not have, has otherwise, or that broke off: it would not start.
    pub foreign: usize,
    /// Settings that are off, with which a crash of the server may lose what was committed.
    pub unsafe_settings: Vec<String>,
    /// The isolation of a statement, such as `read committed`.
    pub isolation: String,
    /// What stands before it.
    pub pooling: Pooling,
}

/// Why it could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement failed.
    #[error("{0}")]
    Statement(#[from] sqlx::Error),
}

/// Looks at the database at `urls`, on connections of its own.
pub async fn inspect(urls: &DatabaseUrls) -> Result<Inspection, InspectError> {
    let connector = Connector::new(urls)?;
    let pooling = Pooling::probe(&connector).await?;
    let mut connection = connector.connect().await?;
    let row = sqlx::query!(
        r#"SELECT current_setting('server_version') AS "version!",
               current_setting('transaction_read_only')::boolean AS "read_only!",
               current_setting('transaction_isolation') AS "isolation!",
               ARRAY(SELECT name FROM pg_settings
                     WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
                     ORDER BY name) AS "unsafe_settings!: Vec<String>""#
    );
    let server = row.fetch_one(&mut connection).await?;
    let Applied { missing, foreign } = migrations::applied(&mut connection).await?;
    Ok(Inspection {
        version: server.version,
        read_only: server.read_only,
        missing,
        foreign,
        unsafe_settings: server.unsafe_settings,
        isolation: server.isolation,
        pooling,
    })
}
