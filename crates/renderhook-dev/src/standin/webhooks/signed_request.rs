//! A signed webhook request.

use std::time::Duration;

use bytes::Bytes;
use renderhook::intake::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_delivery};
use reqwest::{Client, StatusCode};
use secrecy::SecretString;
use url::Url;

/// Magic Hour waits this long for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A signed request.
#[derive(Debug, Clone)]
pub struct SignedRequest {
    /// The timestamp header.
    pub timestamp: String,
    /// The signature header.
    pub signature: String,
    /// The body.
    pub body: Bytes,
}

/// The receiver's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The body.
    pub body: String,
}

impl SignedRequest {
    /// Signs `body` at `timestamp`, in Unix seconds.
    #[must_use]
    pub fn sign(secret: &SecretString, timestamp: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let (timestamp, body) = (timestamp.into(), body.into());
        let signature = sign_delivery(secret, &timestamp, &body);
        Self { timestamp, signature, body }
    }

    /// Posts it once.
    pub async fn post(&self, client: &Client, to: &Url) -> reqwest::Result<Answer> {
        let response = client
            .post(to.clone())
            .timeout(ANSWER_TIMEOUT)
            .header("content-type", "application/json")
            .header(TIMESTAMP_HEADER, &self.timestamp)
            .header(SIGNATURE_HEADER, &self.signature)
            .body(self.body.clone())
            .send()
            .await?;
        Ok(Answer { status: response.status(), body: response.text().await? })
    }
}
