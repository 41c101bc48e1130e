//! How much the server accepts and how long it waits.

use std::time::Duration;

/// The server's limits. The defaults are what `serve` runs with; tests make them smaller.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first byte of a request to the end of its head. A new connection has as long to send that byte.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// How long a connection may stay open between two requests. Longer than the 600 s after which load balancers
    /// close their side, because the side that closes first must be theirs.
    pub idle_timeout: Duration,
    /// How long a client may take none of the bytes of an answer.
    pub write_timeout: Duration,
    /// The largest head of a request, in bytes. Magic Hour's are below a kilobyte.
    pub head_bytes: usize,
    /// Connections at once, without the reserved ones.
    pub connections: usize,
    /// Further connections that are only good for health checks.
    pub reserved_connections: usize,
    /// Request bodies in memory, in bytes, of all connections together.
    pub body_bytes: usize,
    /// Authenticated API requests in progress at once.
    pub api_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(620),
            write_timeout: Duration::from_secs(30),
            head_bytes: 32 << 10,
            connections: 12_288,
            reserved_connections: 16,
            body_bytes: 64 << 20,
            api_requests: 1024,
        }
    }
}

/// The fewest connections that the server works with, however few descriptors the system allows.
const FEWEST_CONNECTIONS: u64 = 16;

impl Limits {
    /// Lowers the number of connections to what `descriptors` allow.
    ///
    /// `reserved` descriptors are left for everything else that the process opens, and a quarter of all for files that
    /// are sent to clients.
    #[must_use]
    pub fn fit_into(mut self, descriptors: u64, reserved: u64) -> Self {
        let own = u64::try_from(self.reserved_connections).unwrap_or(u64::MAX);
        let left = descriptors.saturating_sub(descriptors / 4).saturating_sub(reserved).saturating_sub(own);
        let left = usize::try_from(left.max(FEWEST_CONNECTIONS)).unwrap_or(usize::MAX);
        self.connections = self.connections.min(left);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files_and_the_database() {
        let table = [(1 << 20, 12_288), (16_384, 12_080), (4096, 2864), (1024, 560), (256, 16), (0, 16)];
        for (descriptors, connections) in table {
            let limits = Limits::default().fit_into(descriptors, 192);
            assert_eq!(limits.connections, connections, "{descriptors}");
        }
    }
}
