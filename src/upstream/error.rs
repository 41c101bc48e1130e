//! Why a call of Magic Hour's API gave no usable answer, and what that says about the next call.
//!
//! [`UpstreamError`] is the one error of the API's client. [`UpstreamError::scope`] decides whether a failure concerns the
//! account, perhaps the account, or one render: the rest of the room asks it and never looks at a status or a text.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::StatusCode;

/// Why a call gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// 401.
    #[error("Magic Hour's API refuses the key (401 Unauthorized): check MAGIC_HOUR_API_KEY")]
    Unauthorized,
    /// 402.
    #[error("Magic Hour's API asks for payment (402 Payment Required): check the account's plan and credits")]
    PaymentRequired,
    /// 429.
    #[error("Magic Hour's API asks for fewer calls (429 Too Many Requests)")]
    RateLimited {
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// 403: the key may not do this, perhaps only with this project.
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
    /// No connection could be made, or it was closed before an answer.
    #[error("Magic Hour's API does not answer: is MAGIC_HOUR_API_URL right?")]
    Unreachable,
    /// The answer did not arrive in time.
    #[error("Magic Hour's API did not answer in time")]
    Timeout,
    /// The connection was closed in the middle of the answer.
    #[error("the answer of Magic Hour's API was cut off")]
    Truncated,
    /// The answer is larger than any project.
    #[error("the answer of Magic Hour's API is too large")]
    TooLarge,
    /// An answer that Magic Hour's API does not give: a redirect, a refusal without its JSON.
    #[error("what answers ({0}) does not answer like Magic Hour's API: check MAGIC_HOUR_API_URL")]
    NotMagicHour(StatusCode),
    /// 200, and the body is not the project that was asked for.
    #[error("the answer of Magic Hour's API is not the project that was asked for")]
    NotTheProject,
    /// 404 in Magic Hour's own words.
    #[error("Magic Hour does not know this render: it was deleted, or belongs to another account")]
    NotFound,
    /// The id cannot be part of a URL's path, so there is no such project and nothing was called.
    #[error("no project at Magic Hour can have this id")]
    InvalidId,
    /// 422 for a deletion.
    #[error("Magic Hour does not delete this project, because it is a template")]
    Template,
    /// Any other refusal in Magic Hour's own words.
    #[error("Magic Hour's API answered {0}")]
    Rejected(StatusCode),
}

/// What a failed call says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every call will fail the same way.
    Account,
    /// Perhaps every call, perhaps only those about this render: a second render decides.
    Unclear,
    /// Only calls about this render. The API itself works.
    Render,
}

impl UpstreamError {
    /// Whom the failure concerns.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Unauthorized | Self::PaymentRequired | Self::RateLimited { .. } => Scope::Account,
            Self::Forbidden
            | Self::ServerError { .. }
            | Self::Unreachable
            | Self::Timeout
            | Self::Truncated
            | Self::TooLarge
            | Self::NotMagicHour(_)
            | Self::NotTheProject => Scope::Unclear,
            Self::NotFound | Self::InvalidId | Self::Template | Self::Rejected(_) => Scope::Render,
        }
    }

    /// Whether a person must act before calls can succeed.
    #[must_use]
    pub const fn needs_person(&self) -> bool {
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

    /// How long Magic Hour asked to be left alone.
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

    /// A stable word for the log's field `error`, such as `http_401`.
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
    fn every_error_has_a_scope_a_code_and_whether_a_person_must_act() {
        let minute = Some(Duration::from_mins(1));
        let server_error = |retry_after| UpstreamError::ServerError { status: StatusCode::BAD_GATEWAY, retry_after };
        #[rustfmt::skip]
        let table = [
            (UpstreamError::Unauthorized, Scope::Account, "http_401", true, None),
            (UpstreamError::PaymentRequired, Scope::Account, "http_402", true, None),
            (UpstreamError::RateLimited { retry_after: minute }, Scope::Account, "http_429", false, minute),
            (UpstreamError::Forbidden, Scope::Unclear, "http_403", true, None),
            (server_error(minute), Scope::Unclear, "http_502", false, minute),
            (server_error(None), Scope::Unclear, "http_502", false, None),
            (UpstreamError::Unreachable, Scope::Unclear, "connect_failed", false, None),
            (UpstreamError::Timeout, Scope::Unclear, "timed_out", false, None),
            (UpstreamError::Truncated, Scope::Unclear, "truncated", false, None),
            (UpstreamError::TooLarge, Scope::Unclear, "too_large", false, None),
            (UpstreamError::NotMagicHour(StatusCode::NOT_FOUND), Scope::Unclear, "not_magic_hour", false, None),
            (UpstreamError::NotTheProject, Scope::Unclear, "not_the_project", false, None),
            (UpstreamError::NotFound, Scope::Render, "http_404", false, None),
            (UpstreamError::InvalidId, Scope::Render, "invalid_id", false, None),
            (UpstreamError::Template, Scope::Render, "http_422", false, None),
            (UpstreamError::Rejected(StatusCode::IM_A_TEAPOT), Scope::Render, "http_418", false, None),
        ];
        for (error, scope, code, needs_person, retry_after) in table {
            let facts = (error.scope(), error.code(), error.needs_person(), error.retry_after());
            assert_eq!(facts, (scope, code.into(), needs_person, retry_after), "{error:?}");
        }
    }
}
