//! Errors of the store that are safe to log, store, and return.
//!
//! Guaranteed: no URL, no header, and no body of an answer is part of an error. A bucket's server may repeat a session
//! token or a signature in an error's body, so only its error code and message are used ([`BucketError`]).

use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use object_store::ObjectStoreScheme;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder failed.
    #[error("{0}")]
    Folder(#[from] std::io::Error),
    /// The bucket failed.
    #[error("{0}")]
    Bucket(#[from] BucketError),
}

/// An error of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// No credentials are configured, and this machine has no role that provides any.
    #[error("no credentials were found: set {0}")]
    NoCredentials(&'static str),
    /// The server answered with an error.
    #[error("{host} answered {status}{reason}")]
    Refused {
        /// The server.
        host: String,
        /// The status of its answer.
        status: StatusCode,
        /// The error in its answer.
        reason: ErrorDetails,
    },
    /// The server did not answer, or its answer was interrupted.
    #[error("no complete answer from {host}: {cause}")]
    Unreachable {
        /// The server.
        host: String,
        /// The network error.
        cause: String,
    },
    /// The server sent nothing for this long.
    #[error("the bucket sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// The object is shorter than it should be, or was replaced while it was read.
    #[error("the object in the bucket is another one than the file that was stored")]
    Changed,
    /// Any other error, as described by the client library.
    #[error("{0}")]
    Other(String),
}

impl BucketError {
    /// The status of the server's answer, if that is the cause.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::NoCredentials(_) | Self::Unreachable { .. } | Self::Silent(_) | Self::Changed | Self::Other(_) => {
                None
            }
        }
    }

    pub(super) fn no_credentials(scheme: &ObjectStoreScheme) -> Self {
        Self::NoCredentials(match scheme {
            ObjectStoreScheme::GoogleCloudStorage => {
                "GOOGLE_SERVICE_ACCOUNT to the path of a service account's key file"
            }
            ObjectStoreScheme::MicrosoftAzure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            _ => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        })
    }
}

impl From<object_store::Error> for BucketError {
    /// Finds the error of our own client. The rest of the chain must not be shown, because it contains URLs with upload ids and
    /// tokens.
    fn from(error: object_store::Error) -> Self {
        let ours = chain(&error).find_map(|cause| cause.downcast_ref::<Self>());
        ours.cloned().unwrap_or_else(|| Self::Other(last_cause(&error)))
    }
}

/// The error code and message in the body of a server's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorDetails {
    /// Such as `ExpiredToken`.
    pub code: Option<String>,
    /// The message for people.
    pub message: Option<String>,
}

impl fmt::Display for ErrorDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        [&self.code, &self.message].into_iter().flatten().try_for_each(|text| write!(f, ": {text}"))
    }
}

/// Why a `STORAGE_URL` is invalid.
#[derive(Debug, thiserror::Error)]
pub enum InvalidStorageUrl {
    /// Another scheme.
    #[error("its scheme must be s3, gs, az or file")]
    Scheme,
    /// A folder without a path.
    #[error("a folder is written file:///absolute/path")]
    NoPath,
    /// One of the cloud's own settings is wrong.
    #[error("{0}")]
    Settings(String),
}

impl From<object_store::Error> for InvalidStorageUrl {
    fn from(error: object_store::Error) -> Self {
        // The JSON parser quotes invalid text, which may be a key.
        let json = chain(&error).find_map(|cause| cause.downcast_ref::<serde_json::Error>());
        Self::Settings(match json {
            Some(at) => format!("the service account is not valid JSON at line {}, column {}", at.line(), at.column()),
            None => last_cause(&error),
        })
    }
}

/// An error and its causes, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The innermost cause in one short line.
pub(super) fn last_cause(error: &(dyn Error + 'static)) -> String {
    one_line(&chain(error).last().map(ToString::to_string).unwrap_or_default())
}

/// At most 300 characters, none of which controls a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.trim().chars().take(300).map(|char| if char.is_control() { ' ' } else { char }).collect()
}
