//! The statement that reads renders, and the conversion of its rows to views.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

use super::view::{DownloadError, DownloadView, LinksView, NotificationView, ObjectView, RenderView, TransferProgress};
use crate::archive::Store;
use crate::domain::{
    ArchiveState, DownloadState, FileCounts, Kind, Measure, NotificationId, NotificationState, NotificationType,
    ObjectKey, RenderError,
};

/// Reads [`RenderRow`]s: `select_renders!([source…], notifications, rest, parameters…)`. The parts of `source` are used instead of the table `renders`, and
/// `rest` follows the `FROM` clause. `notifications` is the column of that name.
macro_rules! select_renders {
    ([$($source:literal),+], $notifications:literal, $rest:literal, $($parameter:expr),+ $(,)?) => {
        sqlx::query_as!(
            super::row::RenderRow,
            r#"SELECT
                   r.id AS "id!", r.kind AS "kind!", r.status, r.external_id, r.metadata AS "metadata!: super::row::Raw",
                   r.project_type AS "type", r.name, r.deleted AS "deleted!", r.error_code, r.error_message, r.credits_charged,
                   coalesce(r.created_at, r.first_seen_at) AS "created_at!", r.updated_at AS "updated_at!",
                   r.first_seen_at AS "first_seen_at!",
                   r.not_found_at, r.stalled_at, r.archive AS "archive!",
                   r.width, r.height, r.fps, r.start_seconds, r.end_seconds, r.image_count,
                   r.shortage_confirmed AS "shortage_confirmed!", r.erased_at,
                   r.erasure_requested_at IS NOT NULL AS "is_erased!",
                   (SELECT json_agg(json_build_object('value', value, 'status', status, 'source', source, 'at', at)
                                    ORDER BY id)
                    FROM credits WHERE render_id = r.id) AS "credits: super::row::Raw",
                   (SELECT json_agg(d ORDER BY d.index)
                    FROM (SELECT index, state, key, content_type, size_bytes, sha256, stored_at, attempts, due_at,
                                 error_code, error_message, bytes_done, bytes_total
                          FROM downloads WHERE render_id = r.id) AS d) AS "downloads: super::row::Raw",
                   (SELECT json_agg(json_build_object('from', from_status, 'to', to_status, 'source', source,
                                                      'event', event_type, 'at', at, 'lag_ms', lag_ms) ORDER BY id)
                    FROM transitions WHERE render_id = r.id) AS "transitions: super::row::Raw",
                   "# + $notifications + r#" AS "notifications: super::row::Raw"
               FROM "# + $($source +)+ " AS r " + $rest,
            $($parameter),+
        )
    };
}
pub(super) use select_renders;

/// Unparsed JSON. It is parsed row by row, so that an unreadable row does not affect the others.
pub(super) type Raw = Json<Box<RawValue>>;

/// A row of the statement.
pub(super) struct RenderRow {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) status: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) metadata: Raw,
    pub(super) r#type: Option<String>,
    pub(super) name: Option<String>,
    pub(super) deleted: bool,
    pub(super) error_code: Option<String>,
    pub(super) error_message: Option<String>,
    pub(super) credits_charged: Option<i64>,
    pub(super) credits: Option<Raw>,
    pub(super) not_found_at: Option<DateTime<Utc>>,
    pub(super) stalled_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) first_seen_at: DateTime<Utc>,
    pub(super) archive: String,
    pub(super) width: Option<i32>,
    pub(super) height: Option<i32>,
    pub(super) fps: Option<f64>,
    pub(super) start_seconds: Option<f64>,
    pub(super) end_seconds: Option<f64>,
    pub(super) image_count: Option<i32>,
    pub(super) shortage_confirmed: bool,
    pub(super) erased_at: Option<DateTime<Utc>>,
    pub(super) is_erased: bool,
    pub(super) downloads: Option<Raw>,
    pub(super) transitions: Option<Raw>,
    pub(super) notifications: Option<Raw>,
}

/// A row that this version cannot read, for example because of a status of a newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this version cannot read the render's column `{0}`")]
pub(super) struct UnreadableRow(&'static str);

/// A row of `downloads`, aggregated as JSON.
#[derive(Debug, Deserialize)]
struct DownloadRow {
    index: i32,
    state: DownloadState,
    key: String,
    content_type: Option<String>,
    size_bytes: Option<i64>,
    sha256: Option<String>,
    stored_at: Option<DateTime<Utc>>,
    attempts: i32,
    due_at: Option<DateTime<Utc>>,
    error_code: Option<String>,
    error_message: Option<String>,
    bytes_done: Option<i64>,
    bytes_total: Option<i64>,
}

impl RenderRow {
    /// The view of the render, with its objects in `store`.
    pub(super) fn view(self, store: &Store) -> Result<RenderView, UnreadableRow> {
        let status = self.status.as_deref().map(str::parse).transpose().map_err(|_| UnreadableRow("status"))?;
        // Until the objects are deleted, the rows remember where they are.
        let downloads: Vec<DownloadRow> = if self.is_erased { Vec::new() } else { list(self.downloads, "downloads")? };
        let failed = self.error_code.is_some() || self.error_message.is_some();
        let kind: Kind = self.kind.parse().map_err(|_| UnreadableRow("kind"))?;
        let total = i32::try_from(downloads.len()).unwrap_or(i32::MAX);
        let files = FileCounts { total, ..FileCounts::default() }.with_announced(kind, self.image_count);
        Ok(RenderView {
            kind,
            status,
            r#type: self.r#type,
            name: self.name,
            deleted: self.deleted,
            external_id: self.external_id,
            metadata: self.metadata.0,
            error: failed.then_some(RenderError { code: self.error_code, message: self.error_message }),
            credits_charged: self.credits_charged,
            credits: list(self.credits, "credits")?,
            not_found_at: self.not_found_at,
            stalled_at: self.stalled_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            width: self.width,
            height: self.height,
            fps: self.fps.and_then(Measure::new),
            start_seconds: self.start_seconds.and_then(Measure::new),
            end_seconds: self.end_seconds.and_then(Measure::new),
            image_count: self.image_count,
            links: LinksView { magic_hour: library_url(kind, &self.id) },
            erased_at: self.erased_at,
            awaits_files: files.missing > 0 && !self.shortage_confirmed,
            archive: self.archive.parse::<ArchiveState>().map_err(|_| UnreadableRow("archive"))?,
            downloads: downloads.into_iter().map(|download| download.view(&self.id, store)).collect(),
            transitions: list(self.transitions, "transitions")?,
            notifications: notifications(self.notifications)?,
            id: self.id,
        })
    }
}

/// The entries of an aggregated column, which is null if there are none.
fn list<T: DeserializeOwned>(raw: Option<Raw>, column: &'static str) -> Result<Vec<T>, UnreadableRow> {
    let Some(Json(raw)) = raw else { return Ok(Vec::new()) };
    serde_json::from_str(raw.get()).map_err(|_| UnreadableRow(column))
}

/// A row of `notifications`, aggregated as JSON.
#[derive(Debug, Deserialize)]
struct NotificationRow {
    id: Uuid,
    r#type: NotificationType,
    state: NotificationState,
    attempts: i32,
    due_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    error: Option<String>,
}

/// The notifications, if they were read.
fn notifications(raw: Option<Raw>) -> Result<Option<Vec<NotificationView>>, UnreadableRow> {
    let Some(raw) = raw else { return Ok(None) };
    let rows: Vec<NotificationRow> = list(Some(raw), "notifications")?;
    let view = |row: NotificationRow| NotificationView {
        id: NotificationId::new(row.id),
        r#type: row.r#type,
        state: row.state,
        attempts: row.attempts,
        next_attempt_at: row.due_at,
        delivered_at: row.delivered_at,
        error: row.error,
    };
    Ok(Some(rows.into_iter().map(view).collect()))
}

impl DownloadRow {
    fn view(self, id: &str, store: &Store) -> DownloadView {
        let key = ObjectKey::from_row(self.key);
        let is = |state| self.state == state;
        DownloadView {
            index: self.index,
            state: self.state,
            url: file_path(id, self.index),
            object: is(DownloadState::Stored).then(|| ObjectView { url: store.url(&key), key: key.to_string() }),
            content_type: self.content_type,
            size_bytes: self.size_bytes,
            sha256: self.sha256,
            stored_at: self.stored_at,
            attempts: self.attempts,
            progress: self
                .bytes_done
                .filter(|_| is(DownloadState::Downloading))
                .map(|bytes_done| TransferProgress { bytes_done, bytes_total: self.bytes_total }),
            next_attempt_at: self.due_at.filter(|_| is(DownloadState::Pending)),
            error: self.error_code.zip(self.error_message).map(|(code, message)| DownloadError { code, message }),
        }
    }
}

/// The path of a file in this API.
#[must_use]
pub fn file_path(id: &str, index: i32) -> String {
    format!("/renders/{}/downloads/{index}", segment(id))
}

/// The page of a project in Magic Hour's web app.
fn library_url(kind: Kind, id: &str) -> String {
    format!("https://magichour.ai/my-library?{kind}Id={}", segment(id))
}

/// Escapes text as one segment of a URL path, or as a value in a query.
#[must_use]
pub fn segment(text: &str) -> impl std::fmt::Display {
    const PLAIN: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_escaped_as_one_path_segment() {
        assert_eq!(segment("clx-1_2.3~").to_string(), "clx-1_2.3~");
        assert_eq!(segment("a/b?c#d e").to_string(), "a%2Fb%3Fc%23d%20e");
    }

    #[test]
    fn a_project_has_a_page_in_the_web_app() {
        assert_eq!(library_url(Kind::Video, "clx1"), "https://magichour.ai/my-library?videoId=clx1");
        assert_eq!(library_url(Kind::Image, "a b&c"), "https://magichour.ai/my-library?imageId=a%20b%26c");
        assert_eq!(library_url(Kind::Audio, "é"), "https://magichour.ai/my-library?audioId=%C3%A9");
    }

    #[test]
    fn the_error_names_the_unreadable_column() {
        let raw = |text: &str| Some(Json(RawValue::from_string(text.to_owned()).unwrap()));
        assert_eq!(list::<i32>(None, "credits"), Ok(vec![]));
        assert_eq!(list::<i32>(raw("[1, 2]"), "credits"), Ok(vec![1, 2]));
        assert_eq!(list::<i32>(raw(r#"["new"]"#), "credits"), Err(UnreadableRow("credits")));
    }
}
