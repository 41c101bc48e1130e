//! Parses `Range`, `If-Range`, and `If-None-Match` as in RFC 9110. Pure.

use axum::http::{HeaderMap, header};

/// A range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The offset of the first byte.
    pub first: u64,
    /// The number of bytes.
    pub length: u64,
}

impl ByteRange {
    /// The value of `Content-Range` for a file of `size` bytes.
    #[must_use]
    pub fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.first, (self.first + self.length).saturating_sub(1))
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedRange {
    /// The whole file.
    Whole,
    /// A part of the file.
    Part(ByteRange),
    /// Nothing, because the client already has this version of the file.
    NotModified,
    /// A range outside the file.
    Unsatisfiable,
}

impl RequestedRange {
    /// Reads the headers of a request for a file of `size` bytes with the strong validator `etag`.
    ///
    /// Several ranges, or an invalid one, are answered with the whole file, as RFC 9110 allows.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, etag: &str, size: u64) -> Self {
        let value = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
        if value(header::IF_NONE_MATCH).is_some_and(|list| names(list, etag)) {
            return Self::NotModified;
        }
        if value(header::IF_RANGE).is_some_and(|validator| validator.trim() != etag) {
            return Self::Whole;
        }
        value(header::RANGE).map_or(Self::Whole, |range| Self::range(range, size))
    }

    fn range(text: &str, size: u64) -> Self {
        let range = text.trim().strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'));
        let Some((first, last)) = range else { return Self::Whole };
        let (first, last) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
            (Some(first), None) if last.is_empty() => (first, size.saturating_sub(1)),
            (None, Some(0)) if first.is_empty() => return Self::Unsatisfiable,
            (None, Some(tail)) if first.is_empty() => (size.saturating_sub(tail), size.saturating_sub(1)),
            _ => return Self::Whole,
        };
        if first >= size { Self::Unsatisfiable } else { Self::Part(ByteRange { first, length: last - first + 1 }) }
    }
}

fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Whether an `If-None-Match` list contains `etag`, by weak comparison.
fn names(list: &str, etag: &str) -> bool {
    let weak = |tag: &str| tag.trim().strip_prefix("W/").map_or(tag.trim() == etag, |tag| tag == etag);
    list.trim() == "*" || list.split(',').any(weak)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"abc\"";

    fn requested(headers: &[(header::HeaderName, &str)], size: u64) -> RequestedRange {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        RequestedRange::from_headers(&headers, ETAG, size)
    }

    #[test]
    fn ranges_are_parsed_as_in_rfc_9110() {
        let part = |first, length| RequestedRange::Part(ByteRange { first, length });
        let table = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=0-99", part(0, 10)),
            ("bytes=3-", part(3, 7)),
            ("bytes=-4", part(6, 4)),
            ("bytes=-99", part(0, 10)),
            ("bytes=9-9", part(9, 1)),
            ("bytes=10-", RequestedRange::Unsatisfiable),
            ("bytes=10-20", RequestedRange::Unsatisfiable),
            ("bytes=-0", RequestedRange::Unsatisfiable),
            ("bytes=5-3", RequestedRange::Whole),
            ("bytes=0-1,3-4", RequestedRange::Whole),
            ("bytes=-", RequestedRange::Whole),
            ("bytes=a-b", RequestedRange::Whole),
            ("bytes=+1-2", RequestedRange::Whole),
            ("bytes=99999999999999999999-", RequestedRange::Whole),
            ("items=0-1", RequestedRange::Whole),
        ];
        for (range, expected) in table {
            assert_eq!(requested(&[(header::RANGE, range)], 10), expected, "{range}");
        }
        assert_eq!(requested(&[(header::RANGE, "bytes=0-")], 0), RequestedRange::Unsatisfiable);
        assert_eq!(requested(&[(header::RANGE, "bytes=-5")], 0), RequestedRange::Unsatisfiable);
        assert_eq!(requested(&[], 0), RequestedRange::Whole);
        assert_eq!(ByteRange { first: 3, length: 4 }.content_range(10), "bytes 3-6/10");
    }

    #[test]
    fn a_range_only_applies_to_the_version_that_the_client_started_with() {
        let with = |validator| requested(&[(header::RANGE, "bytes=1-2"), (header::IF_RANGE, validator)], 10);
        assert_eq!(with(ETAG), RequestedRange::Part(ByteRange { first: 1, length: 2 }));
        assert_eq!(with("\"other\""), RequestedRange::Whole);
        assert_eq!(with("W/\"abc\""), RequestedRange::Whole);
        assert_eq!(with("Mon, 23 Nov 2026 00:00:00 GMT"), RequestedRange::Whole);
    }

    #[test]
    fn a_client_that_already_has_the_file_gets_no_bytes() {
        for (list, same) in [(ETAG, true), ("\"x\", W/\"abc\"", true), ("*", true), ("\"x\"", false), ("abc", false)] {
            let expected = if same { RequestedRange::NotModified } else { RequestedRange::Whole };
            assert_eq!(requested(&[(header::IF_NONE_MATCH, list)], 10), expected, "{list}");
        }
    }
}
