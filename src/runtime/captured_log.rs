//! The log as a test sees it: written as in production, and kept.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::EnvFilter;

use super::telemetry::{LogFormat, subscriber};

/// What this thread has logged.
#[derive(Clone, Default)]
pub(crate) struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    /// Captures what this thread logs at `level` and above for as long as the guard lives.
    pub(crate) fn start(format: LogFormat, colors: bool, level: &str) -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = subscriber(format, colors, move || writer.clone(), EnvFilter::new(level), None);
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The text since the last call.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }

    /// The lines since the last call, each of which is a JSON object.
    pub(crate) fn take_lines(&self) -> Vec<Value> {
        self.take().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl io::Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
