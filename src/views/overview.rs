//! What a person looks at first: how much there is of what, what is urgent, and what went wrong last.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::archive::Backlog;
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError, Totals};

/// How many downloads and errors are shown.
const ROWS: i64 = 5;
/// In how many of the latest notifications errors are looked for, so that this takes no longer the longer nothing fails.
const LATEST: i64 = 10_000;

/// The state of everything, at one moment.
#[derive(Debug)]
pub struct Overview {
    /// How many renders, downloads and notifications there are.
    pub totals: Totals,
    /// The downloads that are not settled.
    pub backlog: Backlog,
    /// Those of them whose URLs expire first.
    pub urgent: Vec<UrgentDownload>,
    /// The latest renders and downloads that failed and are still failed, latest first.
    pub errors: Vec<LatestError>,
}

/// A download that is not settled.
#[derive(Debug)]
pub struct UrgentDownload {
    /// The render whose file it is.
    pub render_id: String,
    /// Which of its files.
    pub index: i32,
    /// `pending` or `downloading`.
    pub state: String,
    /// The attempts that were started.
    pub attempts: i32,
    /// When its URL expires, if that is known.
    pub expires_at: Option<DateTime<Utc>>,
    /// The code of its last error.
    pub error_code: Option<String>,
}

/// What failed.
#[derive(Debug)]
pub struct LatestError {
    /// When.
    pub at: DateTime<Utc>,
    /// The render.
    pub render_id: String,
    /// Which of its files; `None` if the render itself failed.
    pub index: Option<i32>,
    /// The code of the error.
    pub code: Option<String>,
    /// Its message.
    pub message: Option<String>,
}

impl Overview {
    /// Reads it.
    pub async fn read(database: &Database, now: DateTime<Utc>) -> Result<Self, DatabaseError> {
        let pool = database.pool();
        let reading = async {
            Ok(Self {
                totals: Totals::read(pool).await?,
                backlog: Backlog::read(pool, now).await?,
                urgent: urgent(pool).await?,
                errors: errors(pool).await?,
            })
        };
        database.with_timeout(BACKGROUND_TIMEOUT, reading).await
    }
}

async fn urgent(pool: &PgPool) -> sqlx::Result<Vec<UrgentDownload>> {
    let rows = sqlx::query_as!(
        UrgentDownload,
        "SELECT render_id, index, state, attempts, expires_at, error_code FROM downloads
         WHERE due_at IS NOT NULL ORDER BY expires_at LIMIT $1",
        ROWS,
    );
    rows.fetch_all(pool).await
}

async fn errors(pool: &PgPool) -> sqlx::Result<Vec<LatestError>> {
    let rows = sqlx::query_as!(
        LatestError,
        r#"SELECT n.at, n.render_id, n.download_index AS index, coalesce(d.error_code, r.error_code) AS code,
               coalesce(d.error_message, r.error_message) AS message
           FROM notifications AS n
               LEFT JOIN downloads AS d
                   ON d.render_id = n.render_id AND d.index = n.download_index AND d.state = 'failed'
               LEFT JOIN renders AS r ON r.id = n.render_id AND n.type = 'render.failed' AND r.status = 'error'
           WHERE n.position > (SELECT max(position) - $2 FROM notifications)
               AND n.type IN ('download.failed', 'render.failed') AND (d.index IS NOT NULL OR r.id IS NOT NULL)
           ORDER BY n.position DESC
           LIMIT $1"#,
        ROWS,
        LATEST,
    );
    rows.fetch_all(pool).await
}
