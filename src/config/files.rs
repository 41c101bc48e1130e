//! The settings for stored files and pages: how they are served, and how long files are kept.

use std::time::Duration;

use clap::Args;
use url::Url;

use super::errors::ConfigErrors;
use super::parse::{MAX_RETENTION, SettingWithDefault, non_empty, parse};
use crate::api::ServeFiles;

const SERVE_FILES: SettingWithDefault = SettingWithDefault::new("SERVE_FILES", "redirect");
const PUBLIC_URL: &str = "PUBLIC_URL";
const FILE_RETENTION: &str = "FILE_RETENTION";
const UI_ENABLED: SettingWithDefault = SettingWithDefault::new("UI_ENABLED", "false");

/// The flags for stored files.
#[derive(Debug, Clone, Args)]
pub(super) struct FileArgs {
    /// How stored files are served: redirect (to a presigned URL if the store supports it) or proxy (through renderhook)
    #[arg(long, env = SERVE_FILES.name, value_name = "HOW", default_value = SERVE_FILES.default)]
    serve_files: String,
    /// The public URL of renderhook, such as `https://files.example.com`, which links to files begin with (default: none, links are paths)
    #[arg(long, env = PUBLIC_URL, value_name = "URL")]
    public_url: Option<String>,
    /// Whether the operator pages are served under `/ui`
    #[arg(long, env = UI_ENABLED.name, value_name = "BOOL", default_value = UI_ENABLED.default, num_args = 0..=1, default_missing_value = "true")]
    ui_enabled: String,
    /// How long stored files are kept; older ones are erased, with their renders (default: forever)
    #[arg(long, env = FILE_RETENTION, value_name = "TIME")]
    file_retention: Option<String>,
}

/// The settings for stored files.
#[derive(Debug, Clone)]
pub struct Files {
    /// How files are served.
    pub serve: ServeFiles,
    /// The public URL that links begin with.
    pub public_url: Option<Url>,
    /// Whether the operator pages are served.
    pub ui_enabled: bool,
    /// How long files are kept, if not forever.
    pub retention: Option<Duration>,
}

impl FileArgs {
    pub(super) fn read(&self, errors: &mut ConfigErrors) -> Files {
        let serve = SERVE_FILES.parse(&self.serve_files, "redirect or proxy", errors);
        Files {
            serve: serve.unwrap_or(ServeFiles::Redirect),
            public_url: self.public_url(errors),
            ui_enabled: UI_ENABLED.flag(&self.ui_enabled, errors),
            retention: self.retention(errors),
        }
    }

    fn retention(&self, errors: &mut ConfigErrors) -> Option<Duration> {
        let text = non_empty(self.file_retention.as_deref())?;
        let retention = humantime::parse_duration(text.trim()).ok();
        let allowed = Duration::from_mins(1)..=MAX_RETENTION;
        let valid = retention.filter(|retention| allowed.contains(retention));
        if valid.is_none() {
            errors.add(FILE_RETENTION, "must be a duration such as 30d or 1h, from 1m to 100 years");
        }
        valid
    }

    fn public_url(&self, errors: &mut ConfigErrors) -> Option<Url> {
        let text = non_empty(self.public_url.as_deref())?;
        let url: Url = parse(PUBLIC_URL, text, "a URL such as https://files.example.com", errors)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let usable = matches!(url.scheme(), "http" | "https") && is_plain && url.fragment().is_none();
        if !usable {
            errors.add(PUBLIC_URL, "must be an http or https URL without a user, password, or query");
        }
        usable.then_some(url)
    }
}
