//! pgbench, which comes with Postgres: the floor of what is measured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::environment::{output, postgres_program};
use crate::pairs::median;

/// What a run measured.
#[derive(Debug)]
pub(crate) struct PgbenchResult {
    /// Transactions per second.
    pub(crate) rate: f64,
    /// The median latency in milliseconds.
    pub(crate) p50_ms: f64,
}

/// Runs `script` over `connections` at once. `folder` is for its files.
pub(crate) async fn run(
    database_url: &str,
    script: &str,
    connections: usize,
    duration: Duration,
    folder: &Path,
) -> anyhow::Result<PgbenchResult> {
    let file = folder.join("script.sql");
    fs::write(&file, script)?;
    let mut command = Command::new(postgres_program("pgbench"));
    command
        .current_dir(folder)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--log", "--log-prefix=latencies", "--file"])
        .arg(&file)
        .arg(format!("--client={connections}"))
        .arg(format!("--time={}", duration.as_secs()))
        .arg(database_url);
    let text = tokio::task::spawn_blocking(move || output(&mut command)).await??;
    let rate = read_rate(&text).with_context(|| format!("pgbench prints no rate: {text}"))?;
    Ok(PgbenchResult { rate, p50_ms: median(latencies_ms(folder)?) })
}

/// The figure of `tps = 5970.2 (without initial connection time)`.
fn read_rate(output: &str) -> Option<f64> {
    output.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
}

/// Reads the logs of latencies, and removes them.
fn latencies_ms(folder: &Path) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("latencies.")) {
            latencies.extend(fs::read_to_string(&path)?.lines().filter_map(read_latency_ms));
            fs::remove_file(path)?;
        }
    }
    Ok(latencies)
}

/// Of a line of the log, the third column: microseconds.
fn read_latency_ms(line: &str) -> Option<f64> {
    line.split(' ').nth(2)?.parse::<f64>().ok().map(|micros| micros / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_and_the_latencies_are_read() {
        let output =
            "number of clients: 32\nlatency average = 5.3 ms\ntps = 5970.256 (without initial connection time)\n";
        assert_eq!(read_rate(output), Some(5970.256));
        assert_eq!(read_rate("pgbench: error"), None);
        assert_eq!(read_latency_ms("0 199 2241 0 1175850568 995598"), Some(2.241));
        assert_eq!(read_latency_ms(""), None);
    }
}
