//! `docs/security.md` matches the program.

use std::time::Duration;

use renderhook::http::Limits;

const SECURITY: &str = include_str!("../../../docs/security.md");

#[test]
fn the_documented_limits_are_those_of_the_program() {
    let limits = Limits::default();
    let seconds = |duration: Duration| format!("{} s", duration.as_secs());
    let table = [
        ("size of a request's head", format!("{} KiB", limits.head_bytes >> 10)),
        ("time for the head", seconds(limits.head_timeout)),
        ("time for the body", seconds(limits.body_timeout)),
        ("memory for bodies, all together", format!("{} MiB", limits.body_bytes >> 20)),
        ("time without progress of a write", seconds(limits.write_timeout)),
        ("idle time between two requests", seconds(limits.idle_timeout)),
        ("connections", limits.connections.to_string()),
        ("connections reserved for health checks", limits.reserved_connections.to_string()),
        ("API requests in progress", limits.api_requests.to_string()),
        ("streams and requests with `wait`", limits.held_requests().to_string()),
    ];
    for (limit, value) in table {
        assert!(SECURITY.contains(&format!("\n| {limit} | `{value}`")), "{limit} is not `{value}`");
    }
}
