//! The one statement that reads renders, and what its rows become.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;

use super::render::{Download, DownloadError, Figure, Render, RenderError, State, StoredObject, Transition};
use crate::archive::Store;
use crate::domain::ArchiveState;
use crate::domain::ObjectKey;

/// Reads [`Row`]s: `told!(source, rest, parameters…)`, where `source` is what stands for the table `renders`, and `rest`
/// follows the `FROM`.
macro_rules! told {
    ($source:literal, $rest:literal, $($parameter:expr),+ $(,)?) => {
        sqlx::query_as!(
            super::row::Row,
            r#"SELECT
                   r.id AS "id!", r.kind AS "kind!", r.status, r.external_id, r.metadata AS "metadata!",
                   r.project_type AS "type", r.name, r.deleted AS "deleted!", r.error_code, r.error_message, r.credits_charged,
                   coalesce(r.created_at, r.first_seen_at) AS "created_at!", r.updated_at AS "updated_at!",
                   r.first_seen_at AS "first_seen_at!",
                   r.not_found_at, r.stalled_at,
                   (SELECT coalesce(jsonb_agg(c.figure ORDER BY c.id), '[]')
                    FROM (SELECT id, jsonb_build_object(
                                     'value', value, 'status', status, 'source', source, 'at', at) AS figure
                          FROM credits WHERE render_id = r.id) AS c) AS "credits!: super::row::Credits",
                   r.archive AS "archive!: super::ArchiveState",
                   (SELECT coalesce(jsonb_agg(d ORDER BY d.index), '[]')
                    FROM (SELECT index, state, key, content_type, size_bytes, sha256, stored_at, attempts, due_at,
                                 error_code, error_message, updated_at
                          FROM downloads WHERE render_id = r.id) AS d) AS "downloads!: super::row::Downloads",
                   (SELECT coalesce(jsonb_agg(t.transition ORDER BY t.id), '[]')
                    FROM (SELECT id, jsonb_build_object(
                                     'from', from_status, 'to', to_status, 'source', source, 'event', event_type,
                                     'at', at, 'lag_ms', lag_ms) AS transition
                          FROM transitions WHERE render_id = r.id) AS t) AS "transitions!: super::row::Transitions"
               FROM "# + $source + " AS r " + $rest,
            $($parameter),+
        )
    };
}
pub(super) use told;

/// The downloads of a row.
pub(super) type Downloads = Json<Vec<DownloadRow>>;
/// The transitions of a row.
pub(super) type Transitions = Json<Vec<Transition>>;
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
    pub(super) error_code: Option<String>,
    pub(super) error_message: Option<String>,
    pub(super) credits_charged: Option<i64>,
    pub(super) credits: Credits,
    pub(super) not_found_at: Option<DateTime<Utc>>,
    pub(super) stalled_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) first_seen_at: DateTime<Utc>,
    pub(super) archive: ArchiveState,
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
    updated_at: DateTime<Utc>,
}

impl Row {
    /// The render as it is answered, with its objects in `store`.
    pub(super) fn shown(self, store: &Store) -> Render {
        let updated_at = self.downloads.0.iter().map(|download| download.updated_at).chain([self.updated_at]).max();
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
            error: RenderError::new(self.error_code, self.error_message),
            credits_charged: self.credits_charged,
            credits: self.credits.0,
            not_found_at: self.not_found_at,
            stalled_at: self.stalled_at,
            created_at: self.created_at,
            updated_at: updated_at.unwrap_or(self.updated_at),
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
