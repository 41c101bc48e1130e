//! The refusals that hyper writes by itself: to what is no HTTP/1.1 (400) and to too large a head (431). They come before there is a request, so no middleware sees them; here they become answers like all others,
//! with a JSON body, a request id and a line in the log.
//!
//! Properties: only a write that is exactly such a refusal and nothing else is replaced. Limits: a refusal that hyper
//! sends in one write with the end of an earlier answer stays as it is, without a body.

use axum::http::StatusCode;
use bytes::Bytes;

use super::errors::Message;
use super::journal;
use super::request_id::{REQUEST_ID_HEADER, RequestId};

/// Our answer in the place of `written`, if that is a refusal of hyper's. Logs it.
pub(super) fn replacement(written: &[u8]) -> Option<Bytes> {
    let (status, date) = refused_with(written)?;
    let id = RequestId::random();
    journal::log_refusal(&id, status);
    Some(answer(status, date, &id))
}

/// The status and the date of a refusal as hyper writes it: a head without a body, with three known headers.
fn refused_with(written: &[u8]) -> Option<(StatusCode, &str)> {
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
    // OK because a struct with one string always serializes.
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
    fn only_a_refusal_of_hypers_and_nothing_else_is_replaced() {
        let rest = "connection: close\r\ncontent-length: 0\r\ndate: Wed, 25 Nov 2026 00:00:00 GMT\r\n\r\n";
        let refusal = |status: &str| {
            let written = format!("HTTP/1.1 {status}\r\n{rest}");
            refused_with(written.as_bytes()).map(|(status, date)| {
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
            assert_eq!(refused_with(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn our_answer_is_whole() {
        let text = String::from_utf8(answer(StatusCode::BAD_REQUEST, "now", &RequestId::random()).to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n") && head.contains("x-request-id: "), "{text}");
        assert_eq!(body, r#"{"message":"this is not an HTTP/1.1 request"}"#);
    }
}
