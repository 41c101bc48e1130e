//! The client for Magic Hour's API and servers with unusual answers.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use renderhook::domain::{Kind, RenderId};
use renderhook::upstream::{CallLimits, MagicHour, UpstreamError};
use reqwest::StatusCode;
use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use url::Url;

/// What a server does after reading a request.
#[derive(Debug, Clone)]
enum Reply {
    /// Sends these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Sends this much, then nothing, and keeps the connection.
    Silence(&'static str),
}

/// An answer with a `Content-Length`.
fn reply(status: &str, body: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into())
}

/// Starts a server that sends the same answer to everyone. Returns its URL and the request lines it received.
async fn server(reply: Reply) -> (Url, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = Url::parse(&format!("http://{}/base", listener.local_addr().unwrap())).unwrap();
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let log = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let (reply, log) = (reply.clone(), log.clone());
            tokio::spawn(async move {
                let mut lines = BufReader::new(&mut connection).lines();
                let request = lines.next_line().await.unwrap().unwrap_or_default();
                log.lock().unwrap().push(request);
                while lines.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}
                match reply {
                    Reply::Bytes(bytes) => {
                        connection.write_all(&bytes).await.unwrap();
                    }
                    Reply::Silence(head) => {
                        connection.write_all(head.as_bytes()).await.unwrap();
                        std::future::pending::<()>().await;
                    }
                }
            });
        }
    });
    (base, requests)
}

fn client(base: Url) -> MagicHour {
    let limits = CallLimits { timeout: Duration::from_secs(10), max_body_bytes: 1000 };
    MagicHour::with_limits(base, SecretString::from("mhk_test"), limits).unwrap()
}

fn id(text: &str) -> RenderId {
    text.parse().unwrap()
}

const NOT_FOUND: &str = r#"{"message":"Not Found"}"#;
const HTML: &str = "<html>Not Found</html>";

#[tokio::test]
async fn the_details_call_classifies_every_answer() {
    let project = |id: &str| format!(r#"{{"id":"{id}","status":"complete"}}"#);
    let teapot = StatusCode::IM_A_TEAPOT;
    let not_magic_hour = |status| Err(UpstreamError::NotMagicHour(status));
    let table = [
        (reply("200 OK", &project("x")), Ok(())),
        (reply("200 OK", &project("other")), Err(UpstreamError::NotTheProject)),
        (reply("200 OK", HTML), Err(UpstreamError::NotTheProject)),
        (reply("200 OK", &"x".repeat(1001)), Err(UpstreamError::TooLarge)),
        (reply("302 Found", ""), not_magic_hour(StatusCode::FOUND)),
        (reply("401 Unauthorized", ""), Err(UpstreamError::Unauthorized)),
        (reply("402 Payment Required", ""), Err(UpstreamError::PaymentRequired)),
        (reply("403 Forbidden", ""), Err(UpstreamError::Forbidden)),
        (reply("404 Not Found", NOT_FOUND), Err(UpstreamError::NotFound)),
        (reply("404 Not Found", HTML), not_magic_hour(StatusCode::NOT_FOUND)),
        (reply("404 Not Found", ""), not_magic_hour(StatusCode::NOT_FOUND)),
        (reply("418 I'm a teapot", NOT_FOUND), Err(UpstreamError::Rejected(teapot))),
        (reply("429 Too Many Requests\r\nretry-after: 60", ""), {
            Err(UpstreamError::RateLimited { retry_after: Some(Duration::from_mins(1)) })
        }),
        (reply("502 Bad Gateway", HTML), {
            Err(UpstreamError::ServerError { status: StatusCode::BAD_GATEWAY, retry_after: None })
        }),
        (Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into()), Err(UpstreamError::Truncated)),
        (Reply::Bytes(Vec::new()), Err(UpstreamError::Unreachable)),
    ];
    for (reply, expected) in table {
        let (base, _) = server(reply.clone()).await;
        let answer = client(base).details(Kind::Video, &id("x")).await;
        assert_eq!(answer.map(drop), expected, "{reply:?}");
    }
}

#[tokio::test]
async fn a_deletion_requires_204_and_a_404_only_counts_in_magic_hours_format() {
    let table = [
        (reply("204 No Content", ""), Ok(())),
        (reply("200 OK", HTML), Err(UpstreamError::NotMagicHour(StatusCode::OK))),
        (reply("404 Not Found", NOT_FOUND), Err(UpstreamError::NotFound)),
        (reply("404 Not Found", HTML), Err(UpstreamError::NotMagicHour(StatusCode::NOT_FOUND))),
        (reply("422 Unprocessable Entity", r#"{"message":"is a template"}"#), Err(UpstreamError::Template)),
        (reply("422 Unprocessable Entity", HTML), Err(UpstreamError::NotMagicHour(StatusCode::UNPROCESSABLE_ENTITY))),
    ];
    for (reply, expected) in table {
        let (base, _) = server(reply.clone()).await;
        assert_eq!(client(base).delete(Kind::Audio, &id("x")).await, expected, "{reply:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_arrive_in_time_is_a_timeout() {
    for head in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let limits = CallLimits { timeout: Duration::from_millis(100), ..CallLimits::default() };
        let (base, _) = server(Reply::Silence(head)).await;
        let client = MagicHour::with_limits(base, SecretString::from("mhk_test"), limits).unwrap();
        assert_eq!(client.details(Kind::Video, &id("x")).await, Err(UpstreamError::Timeout), "{head}");
    }
}

#[tokio::test]
async fn an_id_that_would_change_the_path_is_rejected_before_a_call() {
    let (base, requests) = server(reply("204 No Content", "")).await;
    let client = client(base);
    for dots in [".", ".."] {
        assert_eq!(client.delete(Kind::Video, &id(dots)).await, Err(UpstreamError::InvalidId));
        assert_eq!(client.details(Kind::Video, &id(dots)).await, Err(UpstreamError::InvalidId));
    }
    assert_eq!(*requests.lock().unwrap(), Vec::<String>::new());
    client.delete(Kind::Video, &id("\t..\n")).await.unwrap();
    client.delete(Kind::Image, &id("../a?b")).await.unwrap();
    let expected =
        ["DELETE /base/v1/video-projects/%09..%0A HTTP/1.1", "DELETE /base/v1/image-projects/..%2Fa%3Fb HTTP/1.1"];
    assert_eq!(*requests.lock().unwrap(), expected);
}
