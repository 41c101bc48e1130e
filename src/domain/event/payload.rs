//! The project that an event speaks of: the same object that the details call answers with.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde_json::value::RawValue;
use url::Url;

use super::{Unreadable, json};
use crate::domain::render::{RenderId, Status};

/// How many entries of `downloads` are stored at most: each becomes a row, in one transaction.
pub(super) const MAX_DOWNLOADS: usize = 10_000;

/// A project as Magic Hour described it, as far as this service needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// Whose project.
    pub id: RenderId,
    /// Its status, if this version knows the word.
    pub status: Option<Status>,
    /// Whether a status was told that this version does not know.
    pub has_other_status: bool,
    /// Everything else that was said of it.
    pub facts: Facts,
    /// Its files, in their order.
    pub downloads: Vec<Entry>,
}

/// What was said of a render beside its status. `None` is "not mentioned": the older word stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Its name.
    pub name: Option<Nullable<String>>,
    /// The type of project, such as `FACE_SWAP`. Magic Hour adds types, so it is kept as it comes.
    pub project_type: Option<String>,
    /// Why it failed, or that it did not.
    pub error: Option<Nullable<RenderError>>,
    /// Credits: an estimate until the end, and lower after a refund.
    pub credits_charged: Option<i64>,
    /// Whether the project was deleted (`enabled: false`).
    pub deleted: Option<bool>,
    /// When the project was created at Magic Hour.
    pub created_at: Option<DateTime<Utc>>,
}

/// What a field says that may be `null`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nullable<T> {
    /// A value.
    Value(T),
    /// There is none.
    Null,
}

/// Why a render failed, as Magic Hour put it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RenderError {
    /// A word such as `no_source_face`.
    pub code: Option<String>,
    /// A sentence.
    pub message: Option<String>,
}

/// One entry of `downloads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where the file is; `None` when the entry has no URL that can be read.
    pub url: Option<SignedUrl>,
    /// When the URL dies.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A URL whose query is a credential: shown without it, and never to be printed whole by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(Url);

impl SignedUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, url::ParseError> {
        Url::parse(text).map(Self)
    }

    /// The whole URL, for asking the server that it names and for the row that keeps it.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// The host, which may be told to anyone.
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

/// Reads a project. `mended` says that something in the document was not text and was replaced.
pub(super) fn read(text: &str, mended: bool) -> Result<Payload, Unreadable> {
    let pieces = json::object(text).ok_or(Unreadable::NoId)?;
    let piece = |name: &str| pieces.get(name).copied();
    let id: String = piece("id").and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or(Unreadable::NoId)?;
    if mended && id.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Unreadable::NoId);
    }
    let id = id.parse().map_err(|_| Unreadable::NoId)?;
    let told_status = piece("status").and_then(json::text);
    let status = told_status.as_deref().and_then(|word| word.parse().ok());
    let facts = Facts {
        name: piece("name").and_then(|raw| nullable(raw, json::text)),
        project_type: piece("type").and_then(json::text),
        error: piece("error").and_then(|raw| nullable(raw, error)),
        credits_charged: piece("credits_charged").and_then(whole_number),
        deleted: piece("enabled").and_then(|raw| serde_json::from_str(raw.get()).ok()).map(|enabled: bool| !enabled),
        created_at: piece("created_at").and_then(time),
    };
    // Older payloads carry a single `download` in the place of the list.
    let list = piece("downloads").and_then(json::list);
    if list.as_ref().is_some_and(|list| list.len() > MAX_DOWNLOADS) {
        return Err(Unreadable::TooManyDownloads);
    }
    let downloads = match list {
        Some(list) if !list.is_empty() => list.into_iter().map(entry).collect(),
        _ => piece("download").map(entry).filter(|entry| entry.url.is_some()).into_iter().collect(),
    };
    Ok(Payload { id, status, has_other_status: told_status.is_some() && status.is_none(), facts, downloads })
}

/// What a nullable field says; `None` for what `read` cannot read.
fn nullable<T>(raw: &RawValue, read: impl Fn(&RawValue) -> Option<T>) -> Option<Nullable<T>> {
    if json::is_null(raw) { Some(Nullable::Null) } else { read(raw).map(Nullable::Value) }
}

fn error(raw: &RawValue) -> Option<RenderError> {
    if let Some(message) = json::text(raw) {
        return Some(RenderError { code: None, message: Some(message) });
    }
    let pieces = json::object(raw.get())?;
    let piece = |name: &str| pieces.get(name).and_then(|raw| json::text(raw));
    let (code, message) = (piece("code"), piece("message"));
    (code.is_some() || message.is_some()).then_some(RenderError { code, message })
}

/// An integer, also one that is written `450.0`.
fn whole_number(raw: &RawValue) -> Option<i64> {
    if let Ok(number) = serde_json::from_str(raw.get()) {
        return Some(number);
    }
    let number: f64 = serde_json::from_str(raw.get()).ok()?;
    // OK because a whole f64 prints without an exponent or a fraction, and what no i64 holds does not parse.
    if number.fract() == 0.0 { format!("{number:.0}").parse().ok() } else { None }
}

/// RFC 3339, in the years that it and Postgres both write: there is no year 0000 for Postgres, and an offset can lead
/// out of either end. To the microsecond, as Postgres keeps it.
fn time(raw: &RawValue) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(&json::text(raw)?).ok()?.to_utc();
    let time = DateTime::from_timestamp_micros(time.timestamp_micros())?;
    (1..=9999).contains(&time.year()).then_some(time)
}

/// An entry is an object with a `url`; a bare string is taken for the URL itself.
fn entry(raw: &RawValue) -> Entry {
    let url = |text: String| SignedUrl::parse(&text).ok();
    if let Some(text) = json::text(raw) {
        return Entry { url: url(text), expires_at: None };
    }
    let pieces = json::object(raw.get()).unwrap_or_default();
    Entry {
        url: pieces.get("url").and_then(|raw| json::text(raw)).and_then(url),
        expires_at: pieces.get("expires_at").and_then(|raw| time(raw)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(rest: &str) -> Payload {
        read(&format!(r#"{{"id":"x"{rest}}}"#), false).unwrap()
    }

    #[test]
    fn a_documented_payload_is_read_whole() {
        let payload = payload(
            r#","name":"Example","status":"complete","type":"FACE_SWAP","created_at":"2024-10-19T05:16:19.027Z",
            "width":-1,"height":-1,"enabled":true,"credits_charged":450,"fps":30,"error":null,
            "downloads":[{"url":"https://videos.magichour.ai/id/output.mp4?sig=1","expires_at":"2024-10-20T05:16:19Z"}]"#,
        );
        assert_eq!(payload.status, Some(Status::Complete));
        assert_eq!(payload.facts.name, Some(Nullable::Value("Example".to_owned())));
        assert_eq!(payload.facts.project_type.as_deref(), Some("FACE_SWAP"));
        assert_eq!(payload.facts.error, Some(Nullable::Null));
        assert_eq!(payload.facts.credits_charged, Some(450));
        assert_eq!(payload.facts.deleted, Some(false));
        assert!(payload.facts.created_at.is_some());
        let [entry] = &payload.downloads[..] else { panic!("one entry") };
        assert_eq!(entry.url.as_ref().map(SignedUrl::host), Some("videos.magichour.ai"));
        assert!(entry.expires_at.is_some());
    }

    #[test]
    fn what_is_missing_or_of_another_shape_counts_as_not_said() {
        assert_eq!(payload("").facts, Facts::default());
        let odd = payload(
            r#","name":{},"status":["complete"],"type":7,"created_at":"yesterday","enabled":"no","error":3,
            "credits_charged":"many","downloads":{"url":"https://h/x"}"#,
        );
        assert_eq!((odd.facts, odd.status, odd.has_other_status), (Facts::default(), None, false));
        assert_eq!(odd.downloads, []);
    }

    #[test]
    fn credits_are_whole_numbers_however_they_are_written() {
        let table = [("450", Some(450)), ("450.0", Some(450)), ("-5", Some(-5)), ("4.5", None), ("1e999", None)];
        for (number, expected) in table {
            let payload = payload(&format!(r#","credits_charged":{number}"#));
            assert_eq!(payload.facts.credits_charged, expected, "{number}");
        }
    }

    #[test]
    fn a_time_is_said_only_in_the_years_that_the_database_writes() {
        let table = [
            ("0000-12-31T23:59:59Z", false),
            ("0001-01-01T00:00:00Z", true),
            ("0001-01-01T00:00:00+00:01", false),
            ("9999-12-31T23:59:59Z", true),
            ("9999-12-31T23:59:59-00:01", false),
        ];
        for (time, said) in table {
            assert_eq!(payload(&format!(r#","created_at":"{time}""#)).facts.created_at.is_some(), said, "{time}");
        }
    }

    #[test]
    fn odd_downloads_keep_their_places() {
        let payload = payload(r#","downloads":[null,"https://h/1",{"url":"no url"},{"url":"https://h/3"},7]"#);
        let urls: Vec<_> = payload.downloads.iter().map(|entry| entry.url.as_ref().map(ToString::to_string)).collect();
        assert_eq!(urls, [None, Some("https://h/1".into()), None, Some("https://h/3".into()), None]);
    }

    #[test]
    fn a_list_of_downloads_that_is_too_long_makes_the_payload_unreadable() {
        let with = |count: usize| format!(r#"{{"id":"x","downloads":[{}]}}"#, vec!["0"; count].join(","));
        assert_eq!(read(&with(MAX_DOWNLOADS), false).map(|it| it.downloads.len()), Ok(MAX_DOWNLOADS));
        assert_eq!(read(&with(MAX_DOWNLOADS + 1), false), Err(Unreadable::TooManyDownloads));
    }

    #[test]
    fn the_single_download_of_older_payloads_counts_where_there_is_no_list() {
        let older = payload(r#","downloads":[],"download":{"url":"https://h/old"}"#);
        assert_eq!(older.downloads.len(), 1);
        assert_eq!(payload(r#","download":null,"downloads":null"#).downloads, []);
    }

    #[test]
    fn an_error_may_lack_a_part() {
        let error = |json: &str| payload(&format!(r#","error":{json}"#)).facts.error;
        let told = |code: Option<&str>, message: Option<&str>| {
            Some(Nullable::Value(RenderError { code: code.map(Into::into), message: message.map(Into::into) }))
        };
        assert_eq!(error(r#"{"code":"no_source_face","message":"m"}"#), told(Some("no_source_face"), Some("m")));
        assert_eq!(error(r#"{"code":7}"#), None, "an error that says nothing is not said");
        assert_eq!(error(r#""boom""#), told(None, Some("boom")));
    }

    #[test]
    fn the_query_of_a_url_shows_nowhere() {
        let url = SignedUrl::parse("https://user:word@h/file.mp4?X-Goog-Signature=secret#part").unwrap();
        assert_eq!(url.to_string(), "https://h/file.mp4");
        assert_eq!(format!("{url:?}"), "SignedUrl(https://h/file.mp4)");
    }
}
