//! `renderhook openapi`.

use super::output::Output;
use crate::api::{openapi_document, openapi_json};

/// Prints the `OpenAPI` document.
pub(super) fn run() -> anyhow::Result<()> {
    Output::default().line(openapi_json(&openapi_document()))?;
    Ok(())
}
