//! The settings of how stored files are served.

use clap::Args;
use url::Url;

use super::errors::ConfigErrors;
use super::parse::{Defaulted, given, parse};
use crate::api::ServeFiles;

const SERVE_FILES: Defaulted = Defaulted::new("SERVE_FILES", "redirect");
const PUBLIC_URL: &str = "PUBLIC_URL";

/// The flags for files.
#[derive(Debug, Clone, Args)]
pub(super) struct FileArgs {
    /// How stored files are served: redirect (to a presigned URL where the store can make one) or proxy (through renderhook)
    #[arg(long, env = SERVE_FILES.name, value_name = "HOW", default_value = SERVE_FILES.default)]
    serve_files: String,
    /// Where browsers reach renderhook, such as `https://files.example.com`: links to files begin with it (default: none, links are paths)
    #[arg(long, env = PUBLIC_URL, value_name = "URL")]
    public_url: Option<String>,
}

/// How stored files are served.
#[derive(Debug, Clone)]
pub struct Files {
    /// By a redirect, or through renderhook.
    pub serve: ServeFiles,
    /// What links begin with.
    pub public_url: Option<Url>,
}

impl FileArgs {
    pub(super) fn read(&self, errors: &mut ConfigErrors) -> Files {
        let serve = SERVE_FILES.parse(&self.serve_files, "redirect or proxy", errors);
        Files { serve: serve.unwrap_or(ServeFiles::Redirect), public_url: self.public_url(errors) }
    }

    fn public_url(&self, errors: &mut ConfigErrors) -> Option<Url> {
        let text = given(self.public_url.as_deref())?;
        let url: Url = parse(PUBLIC_URL, text, "a URL such as https://files.example.com", errors)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let usable = matches!(url.scheme(), "http" | "https") && is_plain && url.fragment().is_none();
        if !usable {
            errors.add(PUBLIC_URL, "must be an http or https URL without a user, a password or a query");
        }
        usable.then_some(url)
    }
}
