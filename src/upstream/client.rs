//! The calls of Magic Hour's API that this service makes: a project's details, its deletion, and a question that only
//! shows whether the API is there and takes the key.
//!
//! Guaranteed: the key goes to the API's address and nowhere else (no redirect is followed), and is shown nowhere. What
//! is wrong with the account or the API ([`UpstreamError::Account`]) is told apart from what is wrong with one render, since
//! the first concerns every call and the second only one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Limited};
use reqwest::header::DATE;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::archive::fetch::retry_after;
use crate::domain::Payload;
use crate::domain::event;
use crate::domain::{Kind, RenderId};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest answer that is read. Details are a few kilobytes.
const LARGEST: usize = 4 << 20;

/// Magic Hour's API.
#[derive(Debug, Clone)]
pub struct MagicHour {
    client: Client,
    base: Url,
    key: SecretString,
}

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The account's or the API's: every other call would meet it as well.
    #[error("{message}")]
    Account {
        /// A stable word, such as `http_401`.
        code: String,
        /// What happened and what to do.
        message: String,
        /// How long the API wants to be left alone.
        after: Option<Duration>,
    },
    /// Magic Hour does not know the project: it was deleted, or belongs to another account.
    #[error("Magic Hour does not know this render: it was deleted, or belongs to another account")]
    NotFound,
    /// The project cannot be deleted, because it is a template's.
    #[error("Magic Hour keeps this project, because it is a template's")]
    Template,
    /// It does not answer about this project as it does about others.
    #[error("Magic Hour's API answered {0} about this render")]
    Refused(StatusCode),
    /// The answer is no project.
    #[error("the answer of the details call cannot be read")]
    Unreadable,
}

/// What the API answers to a question that it can only answer in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Whether it took the key.
    pub key: Result<(), UpstreamError>,
    /// What time it has, to the second.
    pub date: Option<DateTime<Utc>>,
}

/// A project that cannot exist, in the form of those that do.
const NOBODY: &str = "crenderhook00000000000000";

/// Asks the API at `base` about a project that cannot exist, with the key or, only to see its time, without. An error
/// says that it does not answer.
pub async fn greet(base: &Url, key: Option<&SecretString>) -> Result<Greeting, UpstreamError> {
    let question = client().map_err(|error| no_answer(&error))?.get(address(base, Kind::Video, NOBODY));
    let question = key.iter().fold(question, |question, key| question.bearer_auth(key.expose_secret()));
    let answer = question.send().await.map_err(|error| no_answer(&error))?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok()).map(DateTime::from);
    let key = match refused(&answer) {
        // What is no Magic Hour knows no project either.
        UpstreamError::NotFound if !is_message(answer).await => Err(UpstreamError::Refused(StatusCode::NOT_FOUND)),
        UpstreamError::NotFound => Ok(()),
        // A mock knows every project.
        UpstreamError::Refused(status) if status.is_success() => Ok(()),
        trouble => Err(trouble),
    };
    Ok(Greeting { key, date })
}

/// Whether an answer is the `{"message": …}` of Magic Hour's refusals.
async fn is_message(answer: Response) -> bool {
    #[derive(serde::Deserialize)]
    struct Message {
        #[serde(rename = "message")]
        _message: String,
    }
    let body = Limited::new(reqwest::Body::from(answer), LARGEST).collect().await;
    body.is_ok_and(|body| serde_json::from_slice::<Message>(&body.to_bytes()).is_ok())
}

impl MagicHour {
    /// The API at `base`, which may carry a path.
    pub fn new(base: Url, key: SecretString) -> Result<Self, reqwest::Error> {
        Ok(Self { client: client()?, base, key })
    }

    /// A project as it is now.
    pub async fn details(&self, kind: Kind, id: &RenderId) -> Result<Payload, UpstreamError> {
        let answer = self.call(Method::GET, kind, id).await?;
        match answer.status() {
            StatusCode::OK => {
                let body = Limited::new(reqwest::Body::from(answer), LARGEST).collect().await;
                let body = body.map_err(|_| account("broken_off", "the answer of Magic Hour's API broke off", None))?;
                event::details(&body.to_bytes()).filter(|payload| payload.id == *id).ok_or(UpstreamError::Unreadable)
            }
            _ => Err(refused(&answer)),
        }
    }

    /// Deletes a project for good.
    pub async fn delete(&self, kind: Kind, id: &RenderId) -> Result<(), UpstreamError> {
        let answer = self.call(Method::DELETE, kind, id).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::UNPROCESSABLE_ENTITY => Err(UpstreamError::Template),
            _ => Err(refused(&answer)),
        }
    }

    async fn call(&self, method: Method, kind: Kind, id: &RenderId) -> Result<Response, UpstreamError> {
        let call = self.client.request(method, address(&self.base, kind, id.as_str()));
        call.bearer_auth(self.key.expose_secret()).send().await.map_err(|error| no_answer(&error))
    }
}

fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("renderhook/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn address(base: &Url, kind: Kind, id: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["v1", &format!("{kind}-projects"), id]);
    }
    url
}

fn no_answer(error: &reqwest::Error) -> UpstreamError {
    let code = if error.is_timeout() { "timed_out" } else { "connect_failed" };
    account(code, "Magic Hour's API does not answer: is MAGIC_HOUR_API_URL right?", None)
}

fn account(code: impl Into<String>, message: impl Into<String>, after: Option<Duration>) -> UpstreamError {
    UpstreamError::Account { code: code.into(), message: message.into(), after }
}

fn refused(answer: &Response) -> UpstreamError {
    let status = answer.status();
    let message = match status {
        StatusCode::NOT_FOUND => return UpstreamError::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "Magic Hour's API refuses the key: check MAGIC_HOUR_API_KEY"
        }
        StatusCode::PAYMENT_REQUIRED => "Magic Hour's API wants the account to be paid for",
        StatusCode::TOO_MANY_REQUESTS => "Magic Hour's API wants to be asked more rarely",
        status if status.is_server_error() => "Magic Hour's API is in trouble",
        status => return UpstreamError::Refused(status),
    };
    account(format!("http_{}", status.as_u16()), format!("{message} ({status})"), retry_after(answer.headers()))
}
