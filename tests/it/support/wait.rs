//! Waiting on a condition with a deadline, and tests that cannot run here.

use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, interval};

/// How long a test waits before it fails. Generous, because machines may be slow.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

/// Repeats a check until it returns a value. Fails with `what` after [`MAX_WAIT`].
pub(crate) async fn until<T, F>(what: &str, mut check: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + MAX_WAIT;
    let mut tick = interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        if let Some(answer) = check().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
    }
}

/// Repeats a check until it reports no differences. Fails with the differences after three times [`MAX_WAIT`].
pub(crate) async fn until_no_differences<F>(mut differences: impl FnMut() -> F)
where
    F: Future<Output = Vec<String>>,
{
    let deadline = Instant::now() + 3 * MAX_WAIT;
    let mut tick = interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        let differences = differences().await;
        if differences.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{} things differ:\n{}", differences.len(), differences.join("\n"));
    }
}

/// Says that a test is skipped.
pub(crate) fn skip(reason: &str) {
    // Not `eprintln!`, which the test harness keeps to itself.
    let _ = writeln!(std::io::stderr(), "not tested: {reason}");
}
