//! A file on its way, from its first byte or from a later one.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER,
};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::digest::Announced;
use super::{Bounds, Failure, broken};
use crate::archive::queue::Reason;

/// A server that asks for more patience than this is asked earlier all the same: the URLs expire.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Where a transfer goes on: after `offset` bytes of the version that `validator` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// How many bytes are there already.
    pub offset: u64,
    /// The value of `If-Range`.
    pub validator: String,
    /// The length of the whole, where it was told.
    pub total: Option<u64>,
}

/// What a server told of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What names this very version; `None` where the server gives nothing that is sure to change with the bytes.
    pub validator: Option<String>,
    /// The length of the whole.
    pub total: Option<u64>,
    /// Its hashes.
    pub announced: Announced,
    /// Its media type.
    pub content_type: Option<String>,
}

impl Origin {
    fn of(headers: &HeaderMap, total: Option<u64>) -> Self {
        Self {
            validator: validator(headers),
            total,
            announced: Announced::of(headers),
            content_type: text(headers, &CONTENT_TYPE).map(str::to_owned),
        }
    }
}

/// A strong `ETag`; else a `Last-Modified` that is strong in the sense of RFC 9110: older than the answer by a second or
/// more, so that the file cannot have changed twice within it.
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

/// What a server made of a request to go on.
#[derive(Debug)]
pub enum Answered {
    /// The bytes from the offset on.
    GoesOn(Incoming),
    /// The whole file: it has changed, or the server cannot go on.
    Afresh(Incoming),
    /// Nothing that can be used; asked without a range, the server may send the whole.
    Unusable,
}

/// A file on its way.
#[derive(Debug)]
pub struct Incoming {
    response: Response,
    origin: Origin,
    received: u64,
    bounds: Bounds,
}

impl Incoming {
    /// The answer to a request for the whole file.
    pub(super) fn whole(response: Response, bounds: Bounds) -> Result<Self, Failure> {
        if response.status() != StatusCode::OK {
            return Err(refused(&response));
        }
        let total = response.content_length();
        Self::accept(response, 0, total, bounds)
    }

    /// The answer to a request to go on.
    pub(super) fn rest(response: Response, resume: &Resume, bounds: Bounds) -> Result<Answered, Failure> {
        match response.status() {
            StatusCode::OK => Self::whole(response, bounds).map(Answered::Afresh),
            StatusCode::PARTIAL_CONTENT => {
                let Some(range) = text(response.headers(), &CONTENT_RANGE).and_then(content_range) else {
                    return Ok(Answered::Unusable);
                };
                let same_length = resume.total.is_none_or(|total| total == range.total);
                // RFC 9110 lets a 206 leave the validator out, but not name another one.
                let other_version = validator(response.headers()).is_some_and(|told| told != resume.validator);
                if range.first != resume.offset || range.last + 1 != range.total || !same_length || other_version {
                    return Ok(Answered::Unusable);
                }
                Self::accept(response, resume.offset, Some(range.total), bounds).map(Answered::GoesOn)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(Answered::Unusable),
            _ => Err(refused(&response)),
        }
    }

    fn accept(response: Response, received: u64, total: Option<u64>, bounds: Bounds) -> Result<Self, Failure> {
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING).filter(|it| it.as_bytes() != b"identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            return Err(Failure::transient("encoded", format!("the server encoded the file ({encoding:.40})")));
        }
        let origin = Origin::of(response.headers(), total);
        let incoming = Self { response, origin, received, bounds };
        incoming.bounded(total.unwrap_or_default())?;
        Ok(incoming)
    }

    /// What the server told of the file.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many bytes the whole file has at most.
    #[must_use]
    pub fn at_most(&self) -> u64 {
        self.origin.total.unwrap_or(self.bounds.bytes)
    }

    /// The next bytes; `None` once the whole file has come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = timeout(self.bounds.silence, self.response.chunk()).await;
        let chunk = chunk.map_err(|_elapsed| {
            let (silence, received) = (self.bounds.silence, self.received);
            Failure::transient("stalled", format!("the server fell silent for {silence:?} after {received} bytes"))
        })?;
        let Some(chunk) = chunk.map_err(broken)? else {
            return self.ended();
        };
        self.received += chunk.len() as u64;
        self.bounded(self.received)?;
        Ok(Some(chunk))
    }

    fn bounded(&self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.bounds.bytes {
            return Ok(());
        }
        let message = format!("the file has {bytes} bytes or more, DOWNLOAD_MAX_BYTES allows {}", self.bounds.bytes);
        Err(Failure::permanent("too_large", message))
    }

    fn ended(&self) -> Result<Option<Bytes>, Failure> {
        match self.origin.total {
            Some(total) if total != self.received => {
                let message = format!("the server announced {total} bytes and sent {}", self.received);
                Err(Failure::transient("wrong_length", message))
            }
            _ => Ok(None),
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

fn refused(response: &Response) -> Failure {
    let status = response.status();
    let code = format!("http_{}", status.as_u16());
    match status.as_u16() {
        400 | 401 | 403 | 404 | 410 => Failure::Expired {
            reason: Reason { code, message: format!("the server answered {status}: the URL has probably expired") },
        },
        _ => Failure::Transient {
            reason: Reason { code, message: format!("the server answered {status}") },
            after: retry_after(response.headers()),
        },
    }
}

/// `Retry-After` in seconds; its other form, a date, needs a clock that agrees with the server's and is left alone.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = text(headers, &RETRY_AFTER)?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_only_where_it_makes_sense() {
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
