//! Signing and posting deliveries.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, StatusCode};
use secrecy::SecretString;
use url::Url;

use crate::intake::signature::sign;

use crate::intake::{SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// How long Magic Hour waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A signed body.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The timestamp header.
    pub timestamp: String,
    /// The signature header.
    pub signature: String,
    /// The body.
    pub body: Bytes,
}

/// What the receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The body.
    pub body: String,
}

impl Delivery {
    /// Signs `body` as of `timestamp`, in Unix seconds.
    #[must_use]
    pub fn sign(secret: &SecretString, timestamp: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let (timestamp, body) = (timestamp.into(), body.into());
        let signature = sign(secret, &timestamp, &body);
        Self { timestamp, signature, body }
    }

    /// Posts it once.
    pub async fn post(&self, client: &Client, to: &Url) -> reqwest::Result<Answer> {
        let answer = client
            .post(to.clone())
            .timeout(PATIENCE)
            .header("content-type", "application/json")
            .header(TIMESTAMP_HEADER, &self.timestamp)
            .header(SIGNATURE_HEADER, &self.signature)
            .body(self.body.clone())
            .send()
            .await?;
        Ok(Answer { status: answer.status(), body: answer.text().await? })
    }

    /// The command that posts it, for a shell.
    #[must_use]
    pub fn as_curl(&self, to: &Url) -> String {
        let lines = [
            format!("curl -sS -X POST {}", quoted(to.as_str())),
            "-H 'content-type: application/json'".to_owned(),
            format!("-H {}", quoted(&format!("{TIMESTAMP_HEADER}: {}", self.timestamp))),
            format!("-H {}", quoted(&format!("{SIGNATURE_HEADER}: {}", self.signature))),
            format!("--data-binary {}", quoted(&String::from_utf8_lossy(&self.body))),
        ];
        lines.join(" \\\n  ")
    }
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_command_carries_the_very_bytes_that_were_signed() {
        let secret = SecretString::from("whsec_test");
        let delivery = Delivery::sign(&secret, "1729314984", r#"{"it's":"here"}"#);
        let curl = delivery.as_curl(&Url::parse("http://127.0.0.1:8080/webhook").unwrap());
        assert!(curl.contains(r#"--data-binary '{"it'\''s":"here"}'"#), "{curl}");
        assert!(curl.contains(&format!("magic-hour-event-signature: {}", delivery.signature)), "{curl}");
    }
}
