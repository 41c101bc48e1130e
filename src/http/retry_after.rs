//! `Retry-After` in an answer.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{DATE, RETRY_AFTER};

/// How long the server asks to wait: a number of seconds, or a date. A date is compared with the answer's own `Date`, so
/// this machine's clock may be wrong.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
    let wait = text(RETRY_AFTER)?;
    if let Ok(seconds) = wait.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let sent_at = httpdate::parse_http_date(text(DATE)?).ok()?;
    httpdate::parse_http_date(wait).ok()?.duration_since(sent_at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            let date = "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap();
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap()), (DATE, date)]);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text}");
        }
        let undated = HeaderMap::from_iter([(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT".parse().unwrap())]);
        assert_eq!(retry_after(&undated), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
