//! Whether a form was sent by a page of this service. Pure.

use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderValue, header};

/// Decides from headers that scripts cannot change: `Sec-Fetch-Site` or, without it (plain HTTP), `Origin`. Every browser sends
/// one of them with a form.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    match (headers.get("sec-fetch-site"), headers.get(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => headers.get(header::HOST).is_some_and(|host| is_of_host(&text(origin), &text(host))),
        (None, None) => false,
    }
}

/// Whether an origin is that of the host that was asked. The scheme is not compared: a proxy may have ended TLS.
fn is_of_host(origin: &str, host: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (origin.scheme_str(), origin.authority()) else { return false };
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let without_default = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    without_default(authority.as_str()) == without_default(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_counts_only_if_the_browser_says_that_it_is_of_this_service() {
        for (site, origin, host, allowed) in [
            (Some("same-origin"), None, "h", true),
            (Some("same-origin"), Some("https://h"), "h", true),
            (Some("same-site"), Some("https://h"), "h", false),
            (Some("cross-site"), Some("https://h"), "h", false),
            (Some("none"), None, "h", false),
            (None, Some("http://h:8080"), "h:8080", true),
            (None, Some("https://H"), "h", true),
            (None, Some("https://h"), "h:443", true),
            (None, Some("http://h:8080"), "h", false),
            (None, Some("http://h:8080"), "h:8081", false),
            (None, Some("https://evil.example"), "h", false),
            (None, Some("https://h.evil.example"), "h", false),
            (None, Some("null"), "h", false),
            (None, Some(""), "h", false),
            (None, None, "h", false),
        ] {
            let mut headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            headers.extend(site.map(|it| (header::HeaderName::from_static("sec-fetch-site"), it.parse().unwrap())));
            headers.extend(origin.map(|it| (header::ORIGIN, it.parse().unwrap())));
            assert_eq!(is_same_origin(&headers), allowed, "{site:?} {origin:?} {host}");
        }
    }
}
