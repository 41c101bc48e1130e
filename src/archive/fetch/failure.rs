//! Why a download failed, and how to continue.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::error_chain::{causes, chain};
use super::guard::UrlRejection;
use crate::archive::queue::Reason;

/// Why a download failed. The variants are handled differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt may succeed.
    Transient {
        /// What happened.
        reason: Reason,
        /// The server's `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The URL does not work any more. A fresh one may work.
    Expired {
        /// What the server answered.
        reason: Reason,
    },
    /// No attempt can succeed before a person changes something.
    Permanent {
        /// What has to change.
        reason: Reason,
    },
    /// This process lacked a resource, such as file descriptors. It says nothing about the file.
    Local {
        /// What was missing.
        reason: Reason,
    },
}

impl Failure {
    /// What happened.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Transient { reason, .. }
            | Self::Expired { reason }
            | Self::Permanent { reason }
            | Self::Local { reason } => reason,
        }
    }

    pub(crate) fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Transient { reason: Reason { code: code.into(), message: message.into() }, retry_after: None }
    }

    pub(crate) fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Permanent { reason: Reason { code: code.into(), message: message.into() } }
    }

    /// [`Self::Local`], if this process lacks a resource.
    pub(crate) fn local(error: &(dyn Error + 'static)) -> Option<Self> {
        let code = missing_resource(error)?;
        let message = format!("renderhook itself lacks a resource, and the attempt does not count: {}", causes(error));
        Some(Self::Local { reason: Reason { code: code.to_owned(), message } })
    }

    /// The guard rejects the stored URL. Only a person or another URL can change that.
    pub(super) fn stored_url(rejection: UrlRejection) -> Self {
        Self::permanent(rejection.code(), rejection.to_string())
    }

    /// The guard rejects a redirect or a DNS answer. The next one may be different.
    pub(super) fn network(rejection: UrlRejection) -> Self {
        Self::transient(rejection.code(), rejection.to_string())
    }

    /// A request failed. The URL in the error is removed.
    pub(super) fn transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if let Some(rejection) = UrlRejection::cause_of(&error) {
            return Self::network(rejection);
        }
        if let Some(local) = Self::local(&error) {
            return local;
        }
        let code = if error.is_connect() {
            "connect_failed"
        } else if error.is_timeout() {
            "timed_out"
        } else {
            "broken_off"
        };
        Self::transient(code, causes(&error))
    }
}

/// The code for the resource of this process that was missing, if that is what `error` reports.
#[cfg(unix)]
fn missing_resource(error: &(dyn Error + 'static)) -> Option<&'static str> {
    use rustix::io::Errno;

    let mut os_errors = chain(error).filter_map(|cause| Errno::from_io_error(cause.downcast_ref::<io::Error>()?));
    os_errors.find_map(|errno| match errno {
        Errno::MFILE | Errno::NFILE => Some("too_many_open_files"),
        Errno::NOMEM | Errno::NOBUFS => Some("out_of_memory"),
        _ => None,
    })
}

#[cfg(not(unix))]
fn missing_resource(_: &(dyn Error + 'static)) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_resource_is_found_anywhere_in_the_chain() {
        let too_many = || io::Error::from(rustix::io::Errno::MFILE);
        for error in [too_many(), io::Error::other(too_many()), io::Error::other(io::Error::other(too_many()))] {
            let Some(Failure::Local { reason }) = Failure::local(&error) else { panic!("{error:?}") };
            assert_eq!(reason.code, "too_many_open_files");
            assert!(reason.message.contains("Too many open files"), "{}", reason.message);
        }
        assert_eq!(Failure::local(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
        assert_eq!(Failure::local(&io::Error::from(rustix::io::Errno::NOSPC)), None);
    }
}
