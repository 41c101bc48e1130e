//! Parsing query parameters. Every error names the parameter and what it must be.
//!
//! The parameters of a route are fields of one struct with `deny_unknown_fields`, so that a typing error gets 400. serde cannot
//! combine that with `flatten`, which is why `limit` and `cursor` are fields of each list's struct.

use std::error::Error as _;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use chrono::{DateTime, Datelike, Utc};
use serde::de::DeserializeOwned;

use crate::http::HttpError;

/// The maximum value of `wait`.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The parameters in the query string. If one is unknown, repeated, or of the wrong type, the answer is 400.
pub(crate) struct QueryParameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParameters<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(bad_query(&rejection)),
        }
    }
}

/// 400 for an invalid query string, with the parser's message but without its prefix.
fn bad_query(rejection: &QueryRejection) -> HttpError {
    let cause = rejection.source().map_or_else(|| rejection.body_text(), ToString::to_string);
    HttpError::bad_request(format!("the query string is invalid: {cause}"))
}

/// The value of a parameter, if it is given.
pub(super) fn read<T: FromStr>(
    name: &str,
    text: Option<&String>,
    expected: impl FnOnce() -> String,
) -> Result<Option<T>, HttpError> {
    text.map(|text| text.parse().map_err(|_| must_be(name, &expected()))).transpose()
}

/// A text of 1 to 255 characters, if it is given.
pub(super) fn text(name: &str, text: Option<&String>) -> Result<Option<String>, HttpError> {
    let fits = |text: &String| (1..=255).contains(&text.chars().count()) && !text.contains('\0');
    match text {
        Some(text) if !fits(text) => Err(must_be(name, "1 to 255 characters without U+0000")),
        text => Ok(text.cloned()),
    }
}

/// An RFC 3339 time of the years 1 to 9999, which Postgres can store.
pub(super) fn time(name: &str, text: Option<&String>) -> Result<Option<DateTime<Utc>>, HttpError> {
    let Some(text) = text else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let time = time.filter(|time| (1..=9999).contains(&time.year()));
    time.map(Some).ok_or_else(|| must_be(name, "an RFC 3339 time, such as 2026-11-29T12:00:00Z, with %2B for +"))
}

/// The sizes that a page may have.
pub(super) struct PageSize {
    pub(super) default: u16,
    pub(super) max: u16,
}

impl PageSize {
    /// The sizes of most lists.
    pub(super) const LIST: Self = Self { default: 50, max: 200 };

    /// The `limit` parameter.
    pub(super) fn limit(&self, text: Option<&String>) -> Result<u16, HttpError> {
        let expected = || format!("a whole number from 1 to {}", self.max);
        let limit = read("limit", text, expected)?.unwrap_or(self.default);
        if (1..=self.max).contains(&limit) { Ok(limit) } else { Err(must_be("limit", &expected())) }
    }
}

/// How long an answer may be held; zero by default.
pub(super) fn wait(text: Option<&String>) -> Result<Duration, HttpError> {
    let Some(text) = text else { return Ok(Duration::ZERO) };
    // As strict as the pattern in the OpenAPI document.
    let seconds =
        text.strip_suffix('s').filter(|digits| digits.len() <= 2 && digits.bytes().all(|it| it.is_ascii_digit()));
    let wait = seconds.and_then(|digits| digits.parse().ok()).map(Duration::from_secs).filter(|wait| *wait <= MAX_WAIT);
    wait.ok_or_else(|| must_be("wait", "a number of seconds from 0s to 60s, such as 30s"))
}

pub(super) fn must_be(name: &str, expected: &str) -> HttpError {
    HttpError::bad_request(format!("`{name}` must be {expected}"))
}

/// The expected values, for error messages.
pub(super) fn one_of(values: &[&str]) -> String {
    format!("one of {}", values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_whole_number_of_seconds_up_to_a_minute() {
        for (text, expected) in [("0s", 0), ("7s", 7), ("07s", 7), ("60s", 60)] {
            assert_eq!(wait(Some(&text.to_owned())).unwrap(), Duration::from_secs(expected), "{text}");
        }
        assert_eq!(wait(None).unwrap(), Duration::ZERO);
        for text in ["", "0", "s", "61s", "030s", "-1s", "+1s", "1m", "1500ms", "1.5s", " 1s", "1 s"] {
            assert!(wait(Some(&text.to_owned())).is_err(), "{text}");
        }
    }
}
