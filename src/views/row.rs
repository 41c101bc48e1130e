//! The statement that reads renders, and the conversion of its rows to views.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::types::Json;

use super::shown::{ShownCredits, ShownDownload, ShownNotification, ShownTransition};
use super::view::{LinksView, RenderView};
use crate::archive::Store;
use crate::domain::{ArchiveState, FileCounts, Kind, Measure, RenderError};

/// Reads [`RenderRow`]s: `select_renders!([source…], notifications, rest, parameters…)`. The parts of `source` are used
/// instead of the table `renders`, and `rest` follows the `FROM` clause. `notifications` is the column of that name.
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
                   ARRAY(SELECT ROW (value, status, source, at)::shown_credits
                         FROM credits WHERE render_id = r.id ORDER BY id) AS "credits!: Vec<super::shown::ShownCredits>",
                   ARRAY(SELECT ROW (index, state, key, content_type, size_bytes, sha256, stored_at, attempts, due_at,
                                     error_code, error_message, bytes_done, bytes_total)::shown_download
                         FROM downloads WHERE render_id = r.id ORDER BY index)
                       AS "downloads!: Vec<super::shown::ShownDownload>",
                   ARRAY(SELECT ROW (from_status, to_status, source, event_type, at, lag_ms)::shown_transition
                         FROM transitions WHERE render_id = r.id ORDER BY id)
                       AS "transitions!: Vec<super::shown::ShownTransition>",
                   "# + $notifications + r#" AS "notifications: Vec<super::shown::ShownNotification>"
               FROM "# + $($source +)+ " AS r " + $rest,
            $($parameter),+
        )
    };
}
pub(super) use select_renders;

/// JSON that is passed on as it is.
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
    pub(super) credits: Vec<ShownCredits>,
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
    pub(super) downloads: Vec<ShownDownload>,
    pub(super) transitions: Vec<ShownTransition>,
    pub(super) notifications: Option<Vec<ShownNotification>>,
}

/// A row that this version cannot read, for example because of a status of a newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this version cannot read the render's column `{0}`")]
pub(super) struct UnreadableRow(pub(super) &'static str);

impl RenderRow {
    /// The view of the render, with its objects in `store`.
    pub(super) fn view(self, store: &Store) -> Result<RenderView, UnreadableRow> {
        let status = self.status.as_deref().map(str::parse).transpose().map_err(|_| UnreadableRow("status"))?;
        // Until the objects are deleted, the rows remember where they are.
        let downloads = if self.is_erased { Vec::new() } else { self.downloads };
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
            credits: all(self.credits, ShownCredits::view)?,
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
            downloads: all(downloads, |download| download.view(&self.id, store))?,
            transitions: all(self.transitions, ShownTransition::view)?,
            notifications: self.notifications.map(|rows| all(rows, ShownNotification::view)).transpose()?,
            id: self.id,
        })
    }
}

/// The views of all `rows`.
fn all<R, V>(rows: Vec<R>, view: impl Fn(R) -> Result<V, UnreadableRow>) -> Result<Vec<V>, UnreadableRow> {
    rows.into_iter().map(view).collect()
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
}
