//! The limit on file descriptors. Every socket and every open file takes one.

/// Raises this process's soft limit to its hard limit, and returns the limit in effect.
#[cfg(unix)]
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// The highest limit that macOS accepts when its hard limit says `unlimited`.
    const MACOS_LIMIT: u64 = 10_240;
    let limit = getrlimit(Resource::Nofile);
    let raise_to = |soft| setrlimit(Resource::Nofile, Rlimit { current: soft, ..limit }).is_ok();
    // OK if both fail: the limit in effect is read afterward.
    let _raised =
        raise_to(limit.maximum) || limit.current.is_some_and(|soft| soft < MACOS_LIMIT) && raise_to(Some(MACOS_LIMIT));
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Other systems have no such limit.
#[cfg(not(unix))]
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    u64::MAX
}
