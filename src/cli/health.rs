//! `renderhook health`.

use std::time::Duration;

use anyhow::{Context, bail};

use super::output::Output;
use crate::config::{ConfigErrors, ListenArgs};

/// How long the answer may take: less than the timeout of a container's health check.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Flags of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct HealthFlags {
    #[command(flatten)]
    listen: ListenArgs,
    /// Asks `/livez` instead: whether the process is alive, even if its database is down
    #[arg(long)]
    live: bool,
}

pub(super) async fn run(args: &HealthFlags) -> anyhow::Result<()> {
    let mut errors = ConfigErrors::default();
    let address = args.listen.read_for_client(&mut errors);
    let address = errors.into_result(address)?;
    let (path, not_healthy) = if args.live { ("/livez", "not alive") } else { ("/readyz", "not ready") };
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let answer = client.get(format!("http://{address}{path}")).send().await.map_err(reqwest::Error::without_url);
    let answer = answer.with_context(|| format!("nothing answers at {address}"))?;
    let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
    if !status.is_success() {
        bail!("{not_healthy}: {text}");
    }
    Output::default().line(text)?;
    Ok(())
}
