//! A file being received, from the beginning or from an offset.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, TRANSFER_ENCODING,
};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::digest::AnnouncedHashes;
use super::{Failure, FetchLimits};
use crate::archive::queue::Reason;
use crate::http::retry_after;

/// The maximum `Retry-After` that is honored, because URLs expire.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Where a transfer resumes: after `offset` bytes of the version identified by `validator`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumePoint {
    /// The number of bytes received before.
    pub offset: u64,
    /// The value of `If-Range`.
    pub validator: String,
    /// The length of the whole file, if known.
    pub total: Option<u64>,
}

/// How the end of a body is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    Length(u64),
    /// By a last chunk.
    Chunked,
    /// By the end of the connection, which looks the same as a crash of the server.
    ConnectionClose,
}

impl Framing {
    fn of(headers: &HeaderMap, total: Option<u64>) -> Self {
        let chunked =
            || text(headers, &TRANSFER_ENCODING).is_some_and(|it| it.to_ascii_lowercase().ends_with("chunked"));
        match total {
            Some(total) => Self::Length(total),
            None if chunked() => Self::Chunked,
            None => Self::ConnectionClose,
        }
    }

    /// The length of the whole file, if known.
    #[must_use]
    pub fn total(self) -> Option<u64> {
        match self {
            Self::Length(total) => Some(total),
            Self::Chunked | Self::ConnectionClose => None,
        }
    }
}

/// The server's metadata of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Identifies this version of the file. `None` if the server sends no strong validator.
    pub validator: Option<String>,
    /// How the end of the file is recognized.
    pub framing: Framing,
    /// The announced hashes.
    pub announced: AnnouncedHashes,
    /// The media type.
    pub content_type: Option<String>,
}

impl Origin {
    fn of(headers: &HeaderMap, total: Option<u64>) -> Self {
        Self {
            validator: validator(headers),
            framing: Framing::of(headers, total),
            announced: AnnouncedHashes::of(headers),
            content_type: text(headers, &CONTENT_TYPE).map(str::to_owned),
        }
    }

    /// Whether the end of the body proves that it is complete. If not, the file must be read twice.
    #[must_use]
    pub fn proves_end(&self) -> bool {
        match self.framing {
            Framing::Length(_) | Framing::Chunked => true,
            Framing::ConnectionClose => !self.announced.is_empty(),
        }
    }
}

/// A strong `ETag`, or a `Last-Modified` that is strong according to RFC 9110: at least a second older than the answer, so that
/// the file cannot have changed again within the same second.
fn validator(headers: &HeaderMap) -> Option<String> {
    if let Some(etag) = text(headers, &ETAG) {
        return etag.starts_with('"').then(|| etag.to_owned());
    }
    let modified = text(headers, &LAST_MODIFIED)?;
    let at = |value| httpdate::parse_http_date(value).ok();
    let age = at(text(headers, &DATE)?)?.duration_since(at(modified)?).ok()?;
    (age >= Duration::from_secs(1)).then(|| modified.to_owned())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// How a server answered a request to resume.
#[derive(Debug)]
pub enum Resumption {
    /// With the bytes from the offset on.
    Continued(Incoming),
    /// With the whole file: it has changed, or the server does not support ranges.
    Restarted(Incoming),
    /// With nothing that can be used. Without a range, the server may send the whole file.
    Unusable,
}

/// A file as it arrives.
#[derive(Debug)]
pub struct Incoming {
    response: Response,
    origin: Origin,
    received: u64,
    limits: FetchLimits,
}

impl Incoming {
    /// The answer to a request for the whole file.
    pub(super) fn whole(response: Response, limits: FetchLimits) -> Result<Self, Failure> {
        if response.status() != StatusCode::OK {
            return Err(status_failure(&response));
        }
        let total = response.content_length();
        Self::accept(response, 0, total, limits)
    }

    /// The answer to a request to resume.
    pub(super) fn rest(response: Response, from: &ResumePoint, limits: FetchLimits) -> Result<Resumption, Failure> {
        match response.status() {
            StatusCode::OK => Self::whole(response, limits).map(Resumption::Restarted),
            StatusCode::PARTIAL_CONTENT => {
                let Some(range) = text(response.headers(), &CONTENT_RANGE).and_then(content_range) else {
                    return Ok(Resumption::Unusable);
                };
                let same_length = from.total.is_none_or(|total| total == range.total);
                // RFC 9110 allows a 206 without the validator, but not one with another validator.
                let other_version = validator(response.headers()).is_some_and(|other| other != from.validator);
                if range.first != from.offset || range.last + 1 != range.total || !same_length || other_version {
                    return Ok(Resumption::Unusable);
                }
                Self::accept(response, from.offset, Some(range.total), limits).map(Resumption::Continued)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(Resumption::Unusable),
            _ => Err(status_failure(&response)),
        }
    }

    fn accept(response: Response, received: u64, total: Option<u64>, limits: FetchLimits) -> Result<Self, Failure> {
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING).filter(|it| it.as_bytes() != b"identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            return Err(Failure::transient("encoded", format!("the server encoded the file ({encoding:.40})")));
        }
        let origin = Origin::of(response.headers(), total);
        let incoming = Self { response, origin, received, limits };
        incoming.check_size(total.unwrap_or_default())?;
        Ok(incoming)
    }

    /// The server's metadata of the file.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The length of the file, or the maximum if it is unknown.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.origin.framing.total().unwrap_or(self.limits.bytes)
    }

    /// The next bytes, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = timeout(self.limits.silence, self.response.chunk()).await;
        let chunk = chunk.map_err(|_elapsed| {
            let (silence, received) = (self.limits.silence, self.received);
            Failure::transient("stalled", format!("the server fell silent for {silence:?} after {received} bytes"))
        })?;
        let Some(chunk) = chunk.map_err(Failure::transport)? else {
            return self.check_length();
        };
        self.received += chunk.len() as u64;
        self.check_size(self.received)?;
        Ok(Some(chunk))
    }

    fn check_size(&self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.limits.bytes {
            return Ok(());
        }
        let message = format!("the file has {bytes} bytes or more, DOWNLOAD_MAX_BYTES allows {}", self.limits.bytes);
        Err(Failure::permanent("too_large", message))
    }

    fn check_length(&self) -> Result<Option<Bytes>, Failure> {
        match self.origin.framing {
            Framing::Length(total) if total != self.received => {
                let message = format!("the server announced {total} bytes and sent {}", self.received);
                Err(Failure::transient("wrong_length", message))
            }
            Framing::Length(_) | Framing::Chunked | Framing::ConnectionClose => Ok(None),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    total: u64,
}

fn content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = ContentRange { first: first.parse().ok()?, last: last.parse().ok()?, total: total.parse().ok()? };
    (range.first <= range.last && range.last < range.total).then_some(range)
}

fn status_failure(response: &Response) -> Failure {
    let status = response.status();
    let code = format!("http_{}", status.as_u16());
    match status.as_u16() {
        400 | 401 | 403 | 404 | 410 => Failure::Expired {
            reason: Reason { code, message: format!("the server answered {status}: the URL has probably expired") },
        },
        _ => Failure::Transient {
            reason: Reason { code, message: format!("the server answered {status}") },
            retry_after: retry_after(response.headers()).map(|wait| wait.min(MAX_RETRY_AFTER)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_parsed_only_if_it_makes_sense() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        for (text, expected) in [
            ("bytes 0-9/10", range(0, 9, 10)),
            ("bytes 5-9/10", range(5, 9, 10)),
            ("bytes 5-9/*", None),
            ("bytes */10", None),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("items 0-9/10", None),
            ("bytes 0-18446744073709551615/18446744073709551615", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }

    #[test]
    fn the_end_of_a_body_is_proven_by_length_chunks_or_a_hash() {
        let proves = |list: &[(HeaderName, &str)], total| {
            let headers = list.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            Origin::of(&headers, total).proves_end()
        };
        let hash = HeaderName::from_static("x-goog-hash");
        assert!(proves(&[], Some(7)));
        assert!(proves(&[(TRANSFER_ENCODING, "chunked")], None));
        assert!(proves(&[(hash.clone(), "crc32c=yZRlqg==")], None));
        assert!(!proves(&[], None));
        assert!(!proves(&[(hash, "crc32c=nonsense")], None));
    }

    #[test]
    fn only_what_changes_with_the_bytes_names_a_version() {
        let named = |list: &[(HeaderName, &str)]| {
            let headers = list.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            validator(&headers)
        };
        let date = "Mon, 23 Nov 2026 10:00:00 GMT";
        assert_eq!(named(&[(ETAG, "\"a\"")]).as_deref(), Some("\"a\""));
        assert_eq!(named(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, "Mon, 23 Nov 2026 09:00:00 GMT"), (DATE, date)]), None);
        let older = "Mon, 23 Nov 2026 09:59:59 GMT";
        assert_eq!(named(&[(LAST_MODIFIED, older), (DATE, date)]).as_deref(), Some(older));
        assert_eq!(named(&[(LAST_MODIFIED, date), (DATE, date)]), None);
        assert_eq!(named(&[(LAST_MODIFIED, older)]), None);
        assert_eq!(named(&[]), None);
    }
}
