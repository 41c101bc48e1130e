//! `renderhook openapi`.

use std::io::Write;

use crate::api::{openapi, router};

/// Prints the document.
pub(super) fn run() -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", openapi::text(&router::document()))?;
    Ok(())
}
