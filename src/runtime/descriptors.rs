//! File descriptors: each connection, file and database connection takes one.

/// Raises the soft limit of this process to its hard limit, and gives the limit that holds from then on.
#[cfg(unix)]
#[must_use]
pub fn raise_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// What macOS takes at most where its hard limit says `unlimited`.
    const MACOS_LIMIT: u64 = 10_240;
    let limit = getrlimit(Resource::Nofile);
    let raise_to = |soft| setrlimit(Resource::Nofile, Rlimit { current: soft, ..limit }).is_ok();
    // OK if both fail: the limit that holds is read afterwards.
    let _raised =
        raise_to(limit.maximum) || limit.current.is_some_and(|soft| soft < MACOS_LIMIT) && raise_to(Some(MACOS_LIMIT));
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Other systems have no such limit.
#[cfg(not(unix))]
#[must_use]
pub fn raise_limit() -> u64 {
    u64::MAX
}
