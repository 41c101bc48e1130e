//! `renderhook health`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{ConfigErrors, ListenArgs};

/// How long the answer may take: less than what container engines give a health check.
const PATIENCE: Duration = Duration::from_secs(4);

/// Flags of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    listen: ListenArgs,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut mistakes = ConfigErrors::default();
    let address = args.listen.read(&mut mistakes);
    let address = here(mistakes.or(address)?);
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let answer = client.get(format!("http://{address}/readyz")).send().await.map_err(reqwest::Error::without_url);
    let answer = answer.with_context(|| format!("nothing answers at {address}"))?;
    let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
    if !status.is_success() {
        bail!("not ready: {text}");
    }
    println!("{text}");
    Ok(())
}

/// A service that listens everywhere is asked at home.
fn here(address: SocketAddr) -> SocketAddr {
    let home = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(home, address.port())
}
