//! `EXTERNAL_ID_PATTERN`.

use clap::Args;

use super::errors::ConfigErrors;
use super::parse::non_empty;
use crate::domain::ExternalIdPattern;

const NAME: &str = "EXTERNAL_ID_PATTERN";

/// The flag for external ids.
#[derive(Debug, Clone, Args)]
pub struct ExternalIdArgs {
    /// A regular expression with one group, which finds a render's external id in its name, such as `^order-(\d+)` (default: none)
    #[arg(long, env = NAME, value_name = "REGEX")]
    external_id_pattern: Option<String>,
}

impl ExternalIdArgs {
    pub(crate) fn read(&self, errors: &mut ConfigErrors) -> Option<ExternalIdPattern> {
        let text = non_empty(self.external_id_pattern.as_deref())?;
        text.parse().map_err(|error: crate::domain::InvalidExternalIdPattern| errors.add(NAME, error.to_string())).ok()
    }
}
