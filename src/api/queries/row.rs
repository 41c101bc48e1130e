//! The one statement that reads renders, and what its rows become.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;

use super::render::{Download, DownloadError, Figure, Render, RenderError, State, StoredObject, Transition};
use crate::archive::Store;
use crate::domain::Archive;
use crate::domain::ObjectKey;

/// Reads [`Row`]s: `told!(source, rest, parameters…)`, where `source` is what stands for the table `renders`, and `rest`
/// follows the `FROM`. What `archive` means is decided here, and nowhere else.
macro_rules! told {
    ($source:literal, $rest:literal, $($parameter:expr),+ $(,)?) => {
        sqlx::query_as!(
            super::row::Row,
            r#"SELECT
                   r.id AS "id!", r.kind AS "kind!", r.status, r.external_id, r.metadata AS "metadata!",
                   r.told #>> '{type,2}' AS "type",
                   r.told #>> '{name,2}' AS "name",
                   coalesce((r.told #>> '{deleted,2}')::boolean, false) AS "deleted!",
                   nullif(r.told #> '{error,2}', 'null') AS "error: super::row::Error",
                   (r.told #>> '{credits_charged,2}')::bigint AS credits_charged,
                   coalesce((r.told #>> '{created_at,2}')::timestamptz, r.first_heard_at) AS "created_at!",
                   greatest(r.updated_at, files.updated_at) AS "updated_at!",
                   r.first_heard_at AS "first_heard_at!",
                   r.not_found_at, r.stalled_at,
                   (SELECT coalesce(jsonb_agg(c.figure ORDER BY c.id), '[]')
                    FROM (SELECT id, jsonb_build_object(
                                     'value', value, 'status', status, 'source', source, 'at', at) AS figure
                          FROM credits WHERE render_id = r.id) AS c) AS "credits!: super::row::Credits",
                   files.archive AS "archive!: super::Archive",
                   (SELECT coalesce(jsonb_agg(d ORDER BY d.index), '[]')
                    FROM (SELECT index, state, key, content_type, size_bytes, sha256, stored_at, attempts, due_at,
                                 error_code, error_message
                          FROM downloads WHERE render_id = r.id) AS d) AS "downloads!: super::row::Downloads",
                   (SELECT coalesce(jsonb_agg(t.transition ORDER BY t.id), '[]')
                    FROM (SELECT id, jsonb_build_object(
                                     'from', from_status, 'to', to_status, 'source', source, 'event', event,
                                     'at', at, 'lag_ms', lag_ms) AS transition
                          FROM transitions WHERE render_id = r.id) AS t) AS "transitions!: super::row::Transitions"
               FROM "# + $source + r#" AS r CROSS JOIN LATERAL (
                   SELECT
                       max(d.updated_at) AS updated_at,
                       CASE
                           WHEN count(*) = 0 AND r.status = 'complete' THEN 'awaiting_urls'
                           WHEN count(*) = 0 THEN 'none'
                           WHEN bool_and(d.state = 'stored') THEN 'stored'
                           WHEN bool_and(d.state = 'failed') THEN 'failed'
                           WHEN bool_or(d.state = 'stored') THEN 'partial'
                           ELSE 'pending'
                       END AS archive
                   FROM downloads AS d WHERE d.render_id = r.id
               ) AS files "# + $rest,
            $($parameter),+
        )
    };
}
pub(super) use told;

/// The downloads of a row.
pub(super) type Downloads = Json<Vec<DownloadRow>>;
/// The transitions of a row.
pub(super) type Transitions = Json<Vec<Transition>>;
/// The error of a row.
pub(super) type Error = Json<RenderError>;
/// The history of a row's credits.
pub(super) type Credits = Json<Vec<Figure>>;

/// A render as the statement gives it.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) status: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) metadata: Value,
    pub(super) r#type: Option<String>,
    pub(super) name: Option<String>,
    pub(super) deleted: bool,
    pub(super) error: Option<Error>,
    pub(super) credits_charged: Option<i64>,
    pub(super) credits: Credits,
    pub(super) not_found_at: Option<DateTime<Utc>>,
    pub(super) stalled_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) first_heard_at: DateTime<Utc>,
    pub(super) archive: Archive,
    pub(super) downloads: Downloads,
    pub(super) transitions: Transitions,
}

/// A row of `downloads`, as the statement puts it into JSON.
#[derive(Debug, Deserialize)]
pub(super) struct DownloadRow {
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
}

impl Row {
    /// The render as it is answered, with its objects in `store`.
    pub(super) fn shown(self, store: &Store) -> Render {
        let downloads = self.downloads.0.into_iter().map(|download| download.shown(&self.id, store)).collect();
        Render {
            id: self.id,
            kind: self.kind,
            status: self.status,
            r#type: self.r#type,
            name: self.name,
            deleted: self.deleted,
            external_id: self.external_id,
            metadata: self.metadata,
            error: self.error.map(|error| error.0),
            credits_charged: self.credits_charged,
            credits: self.credits.0,
            not_found_at: self.not_found_at,
            stalled_at: self.stalled_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            archive: self.archive,
            downloads,
            transitions: self.transitions.0,
        }
    }
}

impl DownloadRow {
    fn shown(self, id: &str, store: &Store) -> Download {
        let key = ObjectKey::from_row(self.key);
        let is = |state| self.state == state;
        Download {
            index: self.index,
            state: self.state,
            url: file_path(id, self.index),
            object: is(State::Stored).then(|| StoredObject { url: store.url(&key), key: key.to_string() }),
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

/// The path of a file in this API.
pub(in crate::api) fn file_path(id: &str, index: i32) -> String {
    format!("/renders/{}/downloads/{index}", segment(id))
}

/// A text as one segment of a URL's path.
fn segment(text: &str) -> impl std::fmt::Display {
    const PLAIN: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_of_a_path() {
        assert_eq!(segment("clx-1_2.3~").to_string(), "clx-1_2.3~");
        assert_eq!(segment("a/b?c#d e").to_string(), "a%2Fb%3Fc%23d%20e");
    }
}
