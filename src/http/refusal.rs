//! Replaces the error responses that hyper sends by itself: 400 for a request that is not HTTP/1.1, and 431 for a request
//! head that is too large. No middleware sees them, because there is no request yet. Here they get a JSON body, a request
//! id, and a log line, like all other answers.
//!
//! Only a write that consists of exactly such a response is replaced. If hyper writes it together with the end of an
//! earlier answer, it is sent unchanged, without a body.

use axum::http::StatusCode;
use bytes::Bytes;

use super::errors::Message;
use super::journal;
use super::request_id::{REQUEST_ID_HEADER, RequestId};

/// Our replacement for `written` if that is one of hyper's error responses. Logs it.
pub(super) fn replacement(written: &[u8]) -> Option<Bytes> {
    let (status, date) = parse_refusal(written)?;
    let id = RequestId::random();
    journal::log_refusal(&id, status);
    Some(answer(status, date, &id))
}

/// The status and the date of an error response written by hyper: a head with three known headers and no body.
fn parse_refusal(written: &[u8]) -> Option<(StatusCode, &str)> {
    let head = std::str::from_utf8(written).ok()?.strip_suffix("\r\n\r\n")?;
    let (status_line, headers) = head.split_once("\r\n")?;
    let status = status_line.strip_prefix("HTTP/1.1 ").or_else(|| status_line.strip_prefix("HTTP/1.0 "))?.get(..3)?;
    let status = status.parse().ok().filter(StatusCode::is_client_error)?;
    let mut headers = headers.split("\r\n");
    let (connection, length, date) = (headers.next()?, headers.next()?, headers.next()?.strip_prefix("date: ")?);
    let is_refusal = connection == "connection: close" && length == "content-length: 0" && headers.next().is_none();
    is_refusal.then_some((status, date))
}

fn answer(status: StatusCode, date: &str, id: &RequestId) -> Bytes {
    let message = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "the head of the request is too large, or has more than 100 headers"
        }
        _ => "this is not an HTTP/1.1 request",
    };
    // A struct with one string always serializes.
    let body = serde_json::to_string(&Message { message: message.to_owned() }).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{REQUEST_ID_HEADER}: {id}\r\n\
         connection: close\r\ndate: {date}\r\n\r\n",
        body.len(),
    );
    Bytes::from(head + &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_error_responses_of_hyper_are_replaced() {
        let rest = "connection: close\r\ncontent-length: 0\r\ndate: Wed, 25 Nov 2026 00:00:00 GMT\r\n\r\n";
        let refusal = |status: &str| {
            let written = format!("HTTP/1.1 {status}\r\n{rest}");
            parse_refusal(written.as_bytes()).map(|(status, date)| {
                assert_eq!(date, "Wed, 25 Nov 2026 00:00:00 GMT");
                status
            })
        };
        assert_eq!(refusal("400 Bad Request"), Some(StatusCode::BAD_REQUEST));
        assert_eq!(refusal("431 Request Header Fields Too Large"), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        assert_eq!(refusal("200 OK"), None);
        assert_eq!(refusal(""), None);
        for other in [
            format!("HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\n{rest}"),
            format!("HTTP/1.1 400 Bad Request\r\n{rest}{{}}"),
            format!("{{}}HTTP/1.1 400 Bad Request\r\n{rest}"),
            "\r\n\r\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(parse_refusal(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_replacement_is_a_complete_response() {
        let text = String::from_utf8(answer(StatusCode::BAD_REQUEST, "now", &RequestId::random()).to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n") && head.contains("x-request-id: "), "{text}");
        assert_eq!(body, r#"{"message":"this is not an HTTP/1.1 request"}"#);
    }
}
