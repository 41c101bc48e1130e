//! How stored files are served.

use std::str::FromStr;

use url::Url;

use crate::api::link_key::LinkKeyCell;

/// How a file is sent to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeFiles {
    /// By a redirect to a presigned URL, if the store supports it.
    Redirect,
    /// Through renderhook, for stores that clients cannot reach.
    Proxy,
}

/// The error for text that is neither `redirect` nor `proxy`.
#[derive(Debug, thiserror::Error)]
#[error("must be redirect or proxy")]
pub struct InvalidServeFiles;

impl FromStr for ServeFiles {
    type Err = InvalidServeFiles;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "redirect" => Ok(Self::Redirect),
            "proxy" => Ok(Self::Proxy),
            _ => Err(InvalidServeFiles),
        }
    }
}

/// How files are served.
#[derive(Debug)]
pub struct FileServing {
    /// How files are sent.
    pub mode: ServeFiles,
    /// The base URL of links that renderhook signs itself. Without it, links are paths.
    pub public_url: Option<Url>,
    /// The key that such links are signed with.
    pub link_key: LinkKeyCell,
}
