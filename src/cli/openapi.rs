//! `renderhook openapi`.

use super::output::Output;
use crate::api::{openapi, router};

/// Prints the `OpenAPI` document.
pub(super) fn run() -> anyhow::Result<()> {
    Output::default().line(openapi::text(&router::document()))?;
    Ok(())
}
