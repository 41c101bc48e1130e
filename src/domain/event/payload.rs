//! The project in an event's payload, which is also the answer of the details API.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use url::Url;
use utoipa::ToSchema;

use super::output::{Measure, OutputFields};
use super::{UnreadableEvent, json, output};
use crate::domain::render::{RenderId, Status};

/// The maximum number of entries in `downloads`. Each becomes a row, all in one transaction.
pub(super) const MAX_DOWNLOADS: usize = 10_000;

/// The parts of a project that renderhook uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// The project's id, which is the render's id.
    pub id: RenderId,
    /// Its status, if this version knows it.
    pub status: Option<Status>,
    /// Whether the payload has a status that this version does not know.
    pub has_unknown_status: bool,
    /// All other fields of the render.
    pub fields: PayloadFields,
    /// Its files, in order.
    pub downloads: Vec<DownloadEntry>,
}

/// Fields of a render other than its status. `None` means absent: the stored value stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PayloadFields {
    /// Its name.
    pub name: Option<Nullable<String>>,
    /// The project type, such as `FACE_SWAP`. Magic Hour adds types over time, so any string is kept.
    pub project_type: Option<String>,
    /// Why it failed. `null` means that it has not failed.
    pub error: Option<Nullable<RenderError>>,
    /// Credits charged: an estimate until the render ends; lower after a refund.
    pub credits_charged: Option<i64>,
    /// Whether the project was deleted (`enabled: false`).
    pub deleted: Option<bool>,
    /// When the project was created at Magic Hour.
    pub created_at: Option<DateTime<Utc>>,
    /// Its sizes and times.
    pub output: OutputFields<Option<Nullable<Measure>>>,
}

/// The value of a field that may be `null`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nullable<T> {
    /// A value.
    Value(T),
    /// An explicit `null`.
    Null,
}

/// Why a render failed, according to Magic Hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct RenderError {
    /// A code such as `no_source_face`.
    #[schema(required = true, example = "no_source_face")]
    pub code: Option<String>,
    /// A message for people.
    #[schema(required = true)]
    pub message: Option<String>,
}

/// One entry of `downloads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadEntry {
    /// The URL of the file; `None` if the entry has no valid URL.
    pub url: Option<SignedUrl>,
    /// When the URL expires.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A URL whose query is a credential. `Display` and `Debug` omit the query, so that it is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(Url);

impl SignedUrl {
    /// Parses a URL.
    pub fn parse(text: &str) -> Result<Self, url::ParseError> {
        Url::parse(text).map(Self)
    }

    /// The whole URL, for the request and for the database row.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// The host, which is not secret.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme(), self.host(), self.0.path())
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({self})")
    }
}

/// Parses a project. `had_invalid_text` means that the document contained invalid text, which has been replaced.
pub(super) fn parse(text: &str, had_invalid_text: bool) -> Result<Payload, UnreadableEvent> {
    let object = json::parse_object(text).ok_or(UnreadableEvent::NoId)?;
    let field = |name: &str| object.get(name).copied();
    let id: String = field("id").and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or(UnreadableEvent::NoId)?;
    if had_invalid_text && id.contains(char::REPLACEMENT_CHARACTER) {
        return Err(UnreadableEvent::NoId);
    }
    let id = id.parse().map_err(|_| UnreadableEvent::NoId)?;
    let status_text = field("status").and_then(json::parse_string);
    let status = status_text.as_deref().and_then(|text| text.parse().ok());
    let fields = PayloadFields {
        name: field("name").and_then(|raw| nullable(raw, json::parse_string)),
        project_type: field("type").and_then(json::parse_string),
        error: field("error").and_then(|raw| nullable(raw, error)),
        credits_charged: field("credits_charged").and_then(whole_number),
        deleted: field("enabled").and_then(|raw| serde_json::from_str(raw.get()).ok()).map(|enabled: bool| !enabled),
        created_at: field("created_at").and_then(time),
        output: output::parse(&object),
    };
    // Older payloads have a single `download` instead of the list.
    let list = field("downloads").and_then(json::parse_list);
    if list.as_ref().is_some_and(|list| list.len() > MAX_DOWNLOADS) {
        return Err(UnreadableEvent::TooManyDownloads);
    }
    let downloads = match list {
        Some(list) if !list.is_empty() => list.into_iter().map(entry).collect(),
        _ => field("download").map(entry).filter(|entry| entry.url.is_some()).into_iter().collect(),
    };
    Ok(Payload { id, status, has_unknown_status: status_text.is_some() && status.is_none(), fields, downloads })
}

/// The value of a nullable field, or `None` if `parse` fails.
pub(super) fn nullable<T>(raw: &RawValue, parse: impl Fn(&RawValue) -> Option<T>) -> Option<Nullable<T>> {
    if json::is_null(raw) { Some(Nullable::Null) } else { parse(raw).map(Nullable::Value) }
}

fn error(raw: &RawValue) -> Option<RenderError> {
    if let Some(message) = json::parse_string(raw) {
        return Some(RenderError { code: None, message: Some(message) });
    }
    let object = json::parse_object(raw.get())?;
    let field = |name: &str| object.get(name).and_then(|raw| json::parse_string(raw));
    let (code, message) = (field("code"), field("message"));
    (code.is_some() || message.is_some()).then_some(RenderError { code, message })
}

/// An integer, also if written like `450.0`.
fn whole_number(raw: &RawValue) -> Option<i64> {
    if let Ok(number) = serde_json::from_str(raw.get()) {
        return Some(number);
    }
    let number: f64 = serde_json::from_str(raw.get()).ok()?;
    // A whole f64 prints without exponent or fraction; if no i64 can hold it, parsing fails.
    if number.fract() == 0.0 { format!("{number:.0}").parse().ok() } else { None }
}

/// An RFC 3339 time, to the microsecond, as Postgres stores it. Limited to years 1 to 9999, which both RFC 3339 and
/// Postgres can represent; an offset can lead outside that range.
fn time(raw: &RawValue) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(&json::parse_string(raw)?).ok()?.to_utc();
    let time = DateTime::from_timestamp_micros(time.timestamp_micros())?;
    (1..=9999).contains(&time.year()).then_some(time)
}

/// An entry is an object with a `url`. A bare string is treated as the URL.
fn entry(raw: &RawValue) -> DownloadEntry {
    let url = |text: String| SignedUrl::parse(&text).ok();
    if let Some(text) = json::parse_string(raw) {
        return DownloadEntry { url: url(text), expires_at: None };
    }
    let object = json::parse_object(raw.get()).unwrap_or_default();
    DownloadEntry {
        url: object.get("url").and_then(|raw| json::parse_string(raw)).and_then(url),
        expires_at: object.get("expires_at").and_then(|raw| time(raw)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(rest: &str) -> Payload {
        parse(&format!(r#"{{"id":"x"{rest}}}"#), false).unwrap()
    }

    #[test]
    fn a_documented_payload_is_fully_parsed() {
        let payload = payload(
            r#","name":"Example","status":"complete","type":"FACE_SWAP","created_at":"2024-10-19T05:16:19.027Z",
            "width":-1,"height":-1,"enabled":true,"credits_charged":450,"fps":30,"error":null,
            "downloads":[{"url":"https://videos.magichour.ai/id/output.mp4?sig=1","expires_at":"2024-10-20T05:16:19Z"}]"#,
        );
        assert_eq!(payload.status, Some(Status::Complete));
        assert_eq!(payload.fields.name, Some(Nullable::Value("Example".to_owned())));
        assert_eq!(payload.fields.project_type.as_deref(), Some("FACE_SWAP"));
        assert_eq!(payload.fields.error, Some(Nullable::Null));
        assert_eq!(payload.fields.credits_charged, Some(450));
        assert_eq!(payload.fields.deleted, Some(false));
        assert!(payload.fields.created_at.is_some());
        let [entry] = &payload.downloads[..] else { panic!("one entry") };
        assert_eq!(entry.url.as_ref().map(SignedUrl::host), Some("videos.magichour.ai"));
        assert!(entry.expires_at.is_some());
    }

    #[test]
    fn missing_and_malformed_fields_count_as_absent() {
        assert_eq!(payload("").fields, PayloadFields::default());
        let odd = payload(
            r#","name":{},"status":["complete"],"type":7,"created_at":"yesterday","enabled":"no","error":3,
            "credits_charged":"many","downloads":{"url":"https://h/x"}"#,
        );
        assert_eq!((odd.fields, odd.status, odd.has_unknown_status), (PayloadFields::default(), None, false));
        assert_eq!(odd.downloads, []);
    }

    #[test]
    fn credits_are_whole_numbers_in_any_notation() {
        let table = [("450", Some(450)), ("450.0", Some(450)), ("-5", Some(-5)), ("4.5", None), ("1e999", None)];
        for (number, expected) in table {
            let payload = payload(&format!(r#","credits_charged":{number}"#));
            assert_eq!(payload.fields.credits_charged, expected, "{number}");
        }
    }

    #[test]
    fn times_outside_the_years_that_postgres_can_store_count_as_absent() {
        let table = [
            ("0000-12-31T23:59:59Z", false),
            ("0001-01-01T00:00:00Z", true),
            ("0001-01-01T00:00:00+00:01", false),
            ("9999-12-31T23:59:59Z", true),
            ("9999-12-31T23:59:59-00:01", false),
        ];
        for (time, is_present) in table {
            let created_at = payload(&format!(r#","created_at":"{time}""#)).fields.created_at;
            assert_eq!(created_at.is_some(), is_present, "{time}");
        }
    }

    #[test]
    fn malformed_downloads_keep_their_index() {
        let payload = payload(r#","downloads":[null,"https://h/1",{"url":"no url"},{"url":"https://h/3"},7]"#);
        let urls: Vec<_> = payload.downloads.iter().map(|entry| entry.url.as_ref().map(ToString::to_string)).collect();
        assert_eq!(urls, [None, Some("https://h/1".into()), None, Some("https://h/3".into()), None]);
    }

    #[test]
    fn a_payload_with_too_many_downloads_is_unreadable() {
        let with = |count: usize| format!(r#"{{"id":"x","downloads":[{}]}}"#, vec!["0"; count].join(","));
        assert_eq!(parse(&with(MAX_DOWNLOADS), false).map(|it| it.downloads.len()), Ok(MAX_DOWNLOADS));
        assert_eq!(parse(&with(MAX_DOWNLOADS + 1), false), Err(UnreadableEvent::TooManyDownloads));
    }

    #[test]
    fn the_single_download_of_older_payloads_is_used_if_there_is_no_list() {
        let older = payload(r#","downloads":[],"download":{"url":"https://h/old"}"#);
        assert_eq!(older.downloads.len(), 1);
        assert_eq!(payload(r#","download":null,"downloads":null"#).downloads, []);
    }

    #[test]
    fn either_part_of_an_error_may_be_missing() {
        let error = |json: &str| payload(&format!(r#","error":{json}"#)).fields.error;
        let expected = |code: Option<&str>, message: Option<&str>| {
            Some(Nullable::Value(RenderError { code: code.map(Into::into), message: message.map(Into::into) }))
        };
        assert_eq!(error(r#"{"code":"no_source_face","message":"m"}"#), expected(Some("no_source_face"), Some("m")));
        assert_eq!(error(r#"{"code":7}"#), None, "an error without a code or a message counts as absent");
        assert_eq!(error(r#""boom""#), expected(None, Some("boom")));
    }

    #[test]
    fn the_query_of_a_url_is_never_printed() {
        let url = SignedUrl::parse("https://user:word@h/file.mp4?X-Goog-Signature=secret#part").unwrap();
        assert_eq!(url.to_string(), "https://h/file.mp4");
        assert_eq!(format!("{url:?}"), "SignedUrl(https://h/file.mp4)");
    }
}
