//! The headers of every answer.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// The headers of every answer that does not set its own.
const DEFAULTS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`: with that, browsers send `Origin: null` with forms.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Middleware that adds them.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    add(response.headers_mut());
    response
}

fn add(headers: &mut HeaderMap) {
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| content_security_policy(&[]));
}

/// Scripts and styles only from files of this service, none inline; pictures and videos also from `media_origins`.
pub(super) fn content_security_policy(media_origins: &[String]) -> HeaderValue {
    let media = media_origins.iter().fold(String::from("'self'"), |list, origin| list + " " + origin);
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src {media}; media-src {media}; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    // Origins are ASCII. If one is not, no file of it is shown.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_and_videos_may_come_from_elsewhere() {
        let policy = content_security_policy(&["https://bucket.example".to_owned()]);
        let policy = policy.to_str().unwrap();
        assert!(policy.contains("img-src 'self' https://bucket.example; media-src 'self' https://bucket.example;"));
        assert_eq!(policy.matches("https:").count(), 2, "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
