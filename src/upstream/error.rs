//! Errors of calls to Magic Hour's API, and what they mean for other calls.
//!
//! [`UpstreamError::scope`] decides whether a failure affects the account, perhaps the account, or one render. The rest of
//! the code uses it and never looks at a status or a message.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::StatusCode;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// 401.
    #[error("Magic Hour's API rejects the key (401 Unauthorized): check MAGIC_HOUR_API_KEY")]
    Unauthorized,
    /// 402.
    #[error("Magic Hour's API requires payment (402 Payment Required): check the account's plan and credits")]
    PaymentRequired,
    /// 429.
    #[error("Magic Hour's API limits the rate of calls (429 Too Many Requests)")]
    RateLimited {
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// 403: the key lacks a permission, perhaps only for this project.
    #[error("Magic Hour's API denies access (403 Forbidden): check what MAGIC_HOUR_API_KEY may do")]
    Forbidden,
    /// 5xx.
    #[error("Magic Hour's API failed ({status})")]
    ServerError {
        /// The status.
        status: StatusCode,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The connection failed, or was closed before an answer.
    #[error("Magic Hour's API cannot be reached: is MAGIC_HOUR_API_URL right?")]
    Unreachable,
    /// The answer did not arrive in time.
    #[error("Magic Hour's API did not answer in time")]
    Timeout,
    /// The connection was closed in the middle of the answer.
    #[error("the answer of Magic Hour's API was cut off")]
    Truncated,
    /// The answer is too large for a project.
    #[error("the answer of Magic Hour's API is too large")]
    TooLarge,
    /// An answer that Magic Hour's API never sends, such as a redirect or an error without its JSON.
    #[error("the server at MAGIC_HOUR_API_URL does not answer like Magic Hour's API ({0}): check the URL")]
    NotMagicHour(StatusCode),
    /// 200 with a body that is not the requested project.
    #[error("the answer of Magic Hour's API is not the requested project")]
    NotTheProject,
    /// 404 in Magic Hour's own format.
    #[error("Magic Hour does not know this render: it was deleted, or belongs to another account")]
    NotFound,
    /// The id cannot be part of a URL path, so there is no such project. No call was made.
    #[error("no project at Magic Hour can have this id")]
    InvalidId,
    /// 422 for a deletion.
    #[error("Magic Hour does not delete this project because it is a template")]
    Template,
    /// Any other error in Magic Hour's own format.
    #[error("Magic Hour's API answered {0}")]
    Rejected(StatusCode),
}

/// Which other calls a failure affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureScope {
    /// All calls.
    Account,
    /// Either all calls or only those about this render. A failure for a second render decides.
    Unclear,
    /// Only calls about this render. The API itself works.
    Render,
}

impl UpstreamError {
    /// Which calls the failure affects.
    #[must_use]
    pub const fn scope(&self) -> FailureScope {
        match self {
            Self::Unauthorized | Self::PaymentRequired | Self::RateLimited { .. } => FailureScope::Account,
            Self::Forbidden
            | Self::ServerError { .. }
            | Self::Unreachable
            | Self::Timeout
            | Self::Truncated
            | Self::TooLarge
            | Self::NotMagicHour(_)
            | Self::NotTheProject => FailureScope::Unclear,
            Self::NotFound | Self::InvalidId | Self::Template | Self::Rejected(_) => FailureScope::Render,
        }
    }

    /// Whether an operator must act before calls can succeed.
    #[must_use]
    pub const fn needs_operator(&self) -> bool {
        match self {
            Self::Unauthorized | Self::PaymentRequired | Self::Forbidden => true,
            Self::RateLimited { .. }
            | Self::ServerError { .. }
            | Self::Unreachable
            | Self::Timeout
            | Self::Truncated
            | Self::TooLarge
            | Self::NotMagicHour(_)
            | Self::NotTheProject
            | Self::NotFound
            | Self::InvalidId
            | Self::Template
            | Self::Rejected(_) => false,
        }
    }

    /// The `Retry-After` of the answer.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::ServerError { retry_after, .. } => *retry_after,
            Self::Unauthorized
            | Self::PaymentRequired
            | Self::Forbidden
            | Self::Unreachable
            | Self::Timeout
            | Self::Truncated
            | Self::TooLarge
            | Self::NotMagicHour(_)
            | Self::NotTheProject
            | Self::NotFound
            | Self::InvalidId
            | Self::Template
            | Self::Rejected(_) => None,
        }
    }

    /// A stable code for the log field `error`, such as `http_401`.
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Unauthorized => "http_401".into(),
            Self::PaymentRequired => "http_402".into(),
            Self::Forbidden => "http_403".into(),
            Self::NotFound => "http_404".into(),
            Self::Template => "http_422".into(),
            Self::RateLimited { .. } => "http_429".into(),
            Self::ServerError { status, .. } | Self::Rejected(status) => format!("http_{}", status.as_u16()).into(),
            Self::Unreachable => "connect_failed".into(),
            Self::Timeout => "timed_out".into(),
            Self::Truncated => "truncated".into(),
            Self::TooLarge => "too_large".into(),
            Self::NotMagicHour(_) => "not_magic_hour".into(),
            Self::NotTheProject => "not_the_project".into(),
            Self::InvalidId => "invalid_id".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_scope_a_code_and_whether_an_operator_must_act() {
        let minute = Some(Duration::from_mins(1));
        let server_error = |retry_after| UpstreamError::ServerError { status: StatusCode::BAD_GATEWAY, retry_after };
        #[rustfmt::skip]
        let table = [
            (UpstreamError::Unauthorized, FailureScope::Account, "http_401", true, None),
            (UpstreamError::PaymentRequired, FailureScope::Account, "http_402", true, None),
            (UpstreamError::RateLimited { retry_after: minute }, FailureScope::Account, "http_429", false, minute),
            (UpstreamError::Forbidden, FailureScope::Unclear, "http_403", true, None),
            (server_error(minute), FailureScope::Unclear, "http_502", false, minute),
            (server_error(None), FailureScope::Unclear, "http_502", false, None),
            (UpstreamError::Unreachable, FailureScope::Unclear, "connect_failed", false, None),
            (UpstreamError::Timeout, FailureScope::Unclear, "timed_out", false, None),
            (UpstreamError::Truncated, FailureScope::Unclear, "truncated", false, None),
            (UpstreamError::TooLarge, FailureScope::Unclear, "too_large", false, None),
            (UpstreamError::NotMagicHour(StatusCode::NOT_FOUND), FailureScope::Unclear, "not_magic_hour", false, None),
            (UpstreamError::NotTheProject, FailureScope::Unclear, "not_the_project", false, None),
            (UpstreamError::NotFound, FailureScope::Render, "http_404", false, None),
            (UpstreamError::InvalidId, FailureScope::Render, "invalid_id", false, None),
            (UpstreamError::Template, FailureScope::Render, "http_422", false, None),
            (UpstreamError::Rejected(StatusCode::IM_A_TEAPOT), FailureScope::Render, "http_418", false, None),
        ];
        for (error, scope, code, needs_operator, retry_after) in table {
            let actual = (error.scope(), error.code(), error.needs_operator(), error.retry_after());
            assert_eq!(actual, (scope, code.into(), needs_operator, retry_after), "{error:?}");
        }
    }
}
