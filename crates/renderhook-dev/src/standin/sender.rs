//! Signing and posting deliveries.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, StatusCode};
use secrecy::SecretString;
use url::Url;

use renderhook::intake::signature::sign;

use renderhook::intake::{SIGNATURE_HEADER, TIMESTAMP_HEADER};

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
}
