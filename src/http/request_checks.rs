//! Checks of `Host` and `Transfer-Encoding` that RFC 9112 requires and hyper does not do.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::errors::HttpError;

/// Rejects a malformed request and closes its connection, because client and server may disagree about where it ends.
pub(crate) async fn check_request(request: Request, next: Next) -> Response {
    let checked =
        check_host(request.version(), request.headers()).and_then(|()| check_transfer_encoding(request.headers()));
    match checked {
        Ok(()) => next.run(request).await,
        Err(error) => ([(header::CONNECTION, "close")], error).into_response(),
    }
}

/// RFC 9112, section 3.2: exactly one valid `Host`. Only HTTP/1.0 may omit it.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), HttpError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (Some(host), None) if is_host(host) => Ok(()),
        (None, _) => Err(HttpError::bad_request("the header Host is missing")),
        (Some(_), None) => Err(HttpError::bad_request("the header Host is not a host with an optional port")),
        (Some(_), Some(_)) => Err(HttpError::bad_request("the header Host is repeated")),
    }
}

/// `uri-host [ ":" port ]`: an authority without a user.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(value.as_bytes()) else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    let port_is_valid = match port.and_then(|port| port.strip_prefix(':')) {
        None => port == Some(""),
        Some("") => true,
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    };
    !authority.host().is_empty() && port_is_valid
}

/// RFC 9112, section 6.1: 501 for an unsupported transfer coding. Only `chunked` is supported.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), HttpError> {
    let values = headers.get_all(header::TRANSFER_ENCODING);
    let codings = values.iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let codings: Vec<_> = codings.filter(|coding| !coding.is_empty()).collect();
    if !codings.iter().all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        let message = "the only supported Transfer-Encoding is chunked";
        return Err(HttpError::new(StatusCode::NOT_IMPLEMENTED, message));
    }
    if codings.len() > 1 {
        return Err(HttpError::bad_request("the body is chunked more than once"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &header::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    fn status(checked: Result<(), HttpError>) -> u16 {
        checked.map_or_else(|error| error.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_request_must_have_exactly_one_valid_host() {
        let table: [(&[&str], u16); 22] = [
            (&["h"], 200),
            (&["example.com"], 200),
            (&["example.com:8080"], 200),
            (&["example.com:"], 200),
            (&["127.0.0.1:1"], 200),
            (&["[::1]"], 200),
            (&["[::1]:8080"], 200),
            (&["xn--bcher-kva.example"], 200),
            (&["a_b.example"], 200),
            (&[], 400),
            (&[""], 400),
            (&[":80"], 400),
            (&["a b"], 400),
            (&["a/b"], 400),
            (&["a?b"], 400),
            (&["a,b"], 200), // a comma is a sub-delimiter, which a registered name may have
            (&["user@h"], 400),
            (&["h:99999"], 400),
            (&["h:x"], 400),
            (&["h:1:2"], 400),
            (&["http://h"], 400),
            (&["h", "h"], 400),
        ];
        for (hosts, expected) in table {
            let headers = headers(&header::HOST, hosts);
            assert_eq!(status(check_host(Version::HTTP_11, &headers)), expected, "{hosts:?}");
        }
        assert_eq!(status(check_host(Version::HTTP_10, &HeaderMap::new())), 200);
        assert_eq!(status(check_host(Version::HTTP_10, &headers(&header::HOST, &["a b"]))), 400);
    }

    #[test]
    fn chunked_is_the_only_supported_transfer_coding() {
        let table: [(&[&str], u16); 7] = [
            (&[], 200),
            (&["chunked"], 200),
            (&["Chunked, "], 200),
            (&["gzip, chunked"], 501),
            (&["gzip", "chunked"], 501),
            (&["identity"], 501),
            (&["chunked, chunked"], 400),
        ];
        for (codings, expected) in table {
            let headers = headers(&header::TRANSFER_ENCODING, codings);
            assert_eq!(status(check_transfer_encoding(&headers)), expected, "{codings:?}");
        }
    }
}
