//! What an application reads of a render, in one round trip.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use sqlx::types::Json;

use crate::key::ObjectKey;
use crate::render::RenderId;
use crate::store::Store;

/// A render as `GET /renders/{id}` answers it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Render {
    id: String,
    kind: String,
    /// `null` until somebody has told a status that this version knows.
    status: Option<String>,
    r#type: Option<String>,
    name: Option<String>,
    deleted: bool,
    external_id: Option<String>,
    metadata: Value,
    /// `{code, message}` as Magic Hour gave it.
    error: Option<Value>,
    credits_charged: Option<i64>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    archive: Archive,
    downloads: Vec<Download>,
    transitions: Vec<Transition>,
}

/// What the states of a render's downloads sum up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Archive {
    /// The render is not complete: there is nothing to keep.
    None,
    /// It is complete, and nobody has told where its files are.
    AwaitingUrls,
    /// No file is stored yet.
    Pending,
    /// Some files are stored, others are not, or not yet.
    Partial,
    /// Every file is stored.
    Stored,
    /// No file is stored, and none will be by itself.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Download {
    index: i32,
    state: State,
    url: String,
    object: Option<Object>,
    content_type: Option<String>,
    size_bytes: Option<i64>,
    sha256: Option<String>,
    stored_at: Option<DateTime<Utc>>,
    attempts: i32,
    next_attempt_at: Option<DateTime<Utc>>,
    error: Option<DownloadError>,
}

/// A download's state, as its row says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Pending,
    Downloading,
    Stored,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Object {
    url: String,
    key: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct DownloadError {
    code: String,
    message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Transition {
    from: Option<String>,
    to: String,
    source: String,
    event: Option<String>,
    at: DateTime<Utc>,
    lag_ms: Option<i64>,
}

/// A row of `downloads`, as the statement below puts it into JSON.
#[derive(Debug, Deserialize)]
struct DownloadRow {
    index: i32,
    state: State,
    key: String,
    content_type: Option<String>,
    size_bytes: Option<i64>,
    sha256: Option<String>,
    stored_at: Option<DateTime<Utc>>,
    attempts: i32,
    due_at: Option<DateTime<Utc>>,
    error_code: Option<String>,
    error_message: Option<String>,
    updated_at: DateTime<Utc>,
}

/// Reads a render with its downloads and transitions; `None` if nobody has told of it.
pub async fn render(pool: &PgPool, store: &Store, id: &RenderId) -> sqlx::Result<Option<Render>> {
    let row = sqlx::query!(
        r#"SELECT
               r.id, r.kind, r.status, r.external_id, r.metadata, r.updated_at,
               r.told #>> '{type,2}' AS "type",
               r.told #>> '{name,2}' AS "name",
               coalesce((r.told #>> '{deleted,2}')::boolean, false) AS "deleted!",
               nullif(r.told #> '{error,2}', 'null') AS error,
               (r.told #>> '{credits_charged,2}')::bigint AS credits_charged,
               coalesce((r.told #>> '{created_at,2}')::timestamptz, r.first_heard_at) AS "created_at!",
               (SELECT coalesce(jsonb_agg(d ORDER BY d.index), '[]')
                FROM (SELECT index, state, key, content_type, size_bytes, sha256, stored_at, attempts, due_at,
                             error_code, error_message, updated_at
                      FROM downloads WHERE render_id = r.id) AS d) AS "downloads!: Json<Vec<DownloadRow>>",
               (SELECT coalesce(jsonb_agg(t.transition ORDER BY t.id), '[]')
                FROM (SELECT id, jsonb_build_object(
                                 'from', from_status, 'to', to_status, 'source', source, 'event', event,
                                 'at', at, 'lag_ms', lag_ms) AS transition
                      FROM transitions WHERE render_id = r.id) AS t) AS "transitions!: Json<Vec<Transition>>"
           FROM renders AS r
           WHERE r.id = $1"#,
        id.as_str(),
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| {
        let downloads = row.downloads.0;
        let newest = downloads.iter().map(|download| download.updated_at).fold(row.updated_at, DateTime::max);
        Render {
            archive: Archive::of(
                row.status.as_deref() == Some("complete"),
                &downloads.iter().map(|download| download.state).collect::<Vec<_>>(),
            ),
            downloads: downloads.into_iter().map(|download| download.shown(id, store)).collect(),
            id: row.id,
            kind: row.kind,
            status: row.status,
            r#type: row.r#type,
            name: row.name,
            deleted: row.deleted,
            external_id: row.external_id,
            metadata: row.metadata,
            error: row.error,
            credits_charged: row.credits_charged,
            created_at: row.created_at,
            updated_at: newest,
            transitions: row.transitions.0,
        }
    }))
}

/// A render in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its id.
    pub id: String,
    /// Its status, if one was told.
    pub status: Option<String>,
}

/// The renders that were first heard of last.
pub async fn newest(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<Line>> {
    sqlx::query_as!(Line, "SELECT id, status FROM renders ORDER BY first_heard_at DESC, id DESC LIMIT $1", limit)
        .fetch_all(pool)
        .await
}

impl Render {
    /// Whether nothing more is to be expected: it has failed or was canceled, or it is complete and each of its files
    /// is stored or has failed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match self.status.as_deref() {
            Some("error" | "canceled") => true,
            Some("complete") => {
                !self.downloads.is_empty()
                    && self.downloads.iter().all(|download| matches!(download.state, State::Stored | State::Failed))
            }
            _ => false,
        }
    }
}

impl Archive {
    fn of(complete: bool, states: &[State]) -> Self {
        let count = |wanted: State| states.iter().filter(|&&state| state == wanted).count();
        let (all, stored, failed) = (states.len(), count(State::Stored), count(State::Failed));
        match (complete, all) {
            (false, 0) => Self::None,
            (true, 0) => Self::AwaitingUrls,
            _ if stored == all => Self::Stored,
            _ if failed == all => Self::Failed,
            _ if stored == 0 => Self::Pending,
            _ => Self::Partial,
        }
    }
}

impl DownloadRow {
    fn shown(self, id: &RenderId, store: &Store) -> Download {
        let key = ObjectKey::from_row(self.key);
        let is = |state| self.state == state;
        Download {
            index: self.index,
            state: self.state,
            url: format!("/renders/{}/downloads/{}", segment(id.as_str()), self.index),
            object: is(State::Stored).then(|| Object { url: store.url(&key), key: key.to_string() }),
            content_type: self.content_type,
            size_bytes: self.size_bytes,
            sha256: self.sha256,
            stored_at: self.stored_at,
            attempts: self.attempts,
            next_attempt_at: self.due_at.filter(|_| is(State::Pending)),
            error: self.error_code.zip(self.error_message).map(|(code, message)| DownloadError { code, message }),
        }
    }
}

/// A text as one segment of a URL's path.
fn segment(text: &str) -> impl std::fmt::Display {
    const PLAIN: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, PLAIN)
}

/// A stored file, for who asks for its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Where it stands.
    pub key: ObjectKey,
    /// What it is.
    pub content_type: String,
    /// How long it is.
    pub size_bytes: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// It is stored.
    Stored(StoredFile),
    /// It is known, and not stored, or not yet.
    NotStored,
}

/// Reads one download; `None` if there is none.
pub async fn file(pool: &PgPool, id: &RenderId, index: i32) -> sqlx::Result<Option<File>> {
    let row = sqlx::query!(
        "SELECT state, key, content_type, size_bytes, sha256 FROM downloads WHERE render_id = $1 AND index = $2",
        id.as_str(),
        index,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| match (row.state.as_str(), row.size_bytes, row.sha256) {
        ("stored", Some(size), Some(sha256)) => File::Stored(StoredFile {
            key: ObjectKey::from_row(row.key),
            content_type: row.content_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
            size_bytes: size.unsigned_abs(),
            sha256,
        }),
        _ => File::NotStored,
    }))
}

#[cfg(test)]
mod tests {
    use super::State::{Downloading, Failed, Pending, Stored};
    use super::*;

    #[test]
    fn the_archive_sums_the_states_up() {
        let table: [(bool, &[State], Archive); 12] = [
            (false, &[], Archive::None),
            (true, &[], Archive::AwaitingUrls),
            (true, &[Pending], Archive::Pending),
            (true, &[Downloading, Pending], Archive::Pending),
            (true, &[Downloading, Failed], Archive::Pending),
            (true, &[Stored, Pending], Archive::Partial),
            (true, &[Stored, Downloading, Failed], Archive::Partial),
            (true, &[Stored, Failed], Archive::Partial),
            (true, &[Stored], Archive::Stored),
            (true, &[Stored, Stored], Archive::Stored),
            (true, &[Failed], Archive::Failed),
            (true, &[Failed, Failed], Archive::Failed),
        ];
        for (complete, states, expected) in table {
            assert_eq!(Archive::of(complete, states), expected, "{complete} {states:?}");
        }
    }

    #[test]
    fn an_id_is_one_segment_of_a_path() {
        assert_eq!(segment("clx-1_2.3~").to_string(), "clx-1_2.3~");
        assert_eq!(segment("a/b?c#d e").to_string(), "a%2Fb%3Fc%23d%20e");
    }
}
