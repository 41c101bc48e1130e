//! The signals that stop the process.

/// Returns at the first SIGTERM or Ctrl-C.
#[cfg(unix)]
pub async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Returns at the first Ctrl-C.
#[cfg(not(unix))]
pub async fn stop_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
