//! The receiver of `guide.py`, written after Magic Hour's guide for `FastAPI`.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::service::ServiceProcess;
use crate::workload::SECRET;

/// The program, and what it imports.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guide.py");
const IMPORTS: &str = "import asyncpg, fastapi, uvicorn";
/// Worker processes. One per core is usual.
const WORKERS: &str = "2";

/// Starts it. `None` if Python or one of the packages is not installed.
pub(crate) async fn start(database_url: &str, folder: &Path) -> anyhow::Result<Option<ServiceProcess>> {
    let mut imports = Command::new("python3");
    imports.args(["-c", IMPORTS]).stdout(Stdio::null()).stderr(Stdio::null());
    if !imports.status().await.is_ok_and(|status| status.success()) {
        println!("\nThe guide's receiver is skipped: it needs python3 with `pip install fastapi uvicorn asyncpg`.");
        return Ok(None);
    }
    let directory = Path::new(PROGRAM).parent().unwrap_or(Path::new("."));
    let mut command = Command::new("python3");
    command
        .args(["-m", "uvicorn", "guide:app", "--no-access-log", "--log-level=warning", "--workers", WORKERS])
        .arg("--app-dir")
        .arg(directory)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("DATABASE_URL", database_url)
        .env("MAGIC_HOUR_WEBHOOK_SECRET", SECRET);
    // `UVICORN_PORT` is the variable of its option `--port`.
    ServiceProcess::start(command, folder, "/ready", |port| ("UVICORN_PORT", port.to_string())).await.map(Some)
}
