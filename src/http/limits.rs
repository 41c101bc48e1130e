//! The limits of the HTTP server.

use std::time::Duration;

/// The limits of the HTTP server. `serve` uses the defaults; tests use smaller ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first byte of a request to the end of its head. Also how long a new connection may take to send that byte.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// How long a connection may be idle between two requests. Longer than the 600 s of common load balancers, because the
    /// load balancer has to be the side that closes first.
    pub idle_timeout: Duration,
    /// How long a client may go without accepting any byte of an answer.
    pub write_timeout: Duration,
    /// The maximum size of a request head. Magic Hour's are below 1 KiB.
    pub head_bytes: usize,
    /// The maximum number of connections, not counting the reserved ones.
    pub connections: usize,
    /// The number of additional connections, for health checks only.
    pub reserved_connections: usize,
    /// The maximum number of bytes of request bodies in memory, for all connections together.
    pub body_bytes: usize,
    /// The maximum number of authenticated API requests in progress, not counting those that wait.
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

/// The minimum number of connections, however few descriptors the system allows.
const MIN_CONNECTIONS: u64 = 16;

impl Limits {
    /// The maximum number of requests that wait: streams, and callers whose answer is held. A sixth of the connections is
    /// left for everything else.
    #[must_use]
    pub fn held_requests(&self) -> usize {
        self.connections - self.connections.div_ceil(6)
    }

    /// Lowers the number of connections to what the limit on file `descriptors` allows.
    ///
    /// `reserved` descriptors are kept for everything else that the process opens, and a quarter of all descriptors for files
    /// that are sent to clients.
    #[must_use]
    pub fn fit_descriptors(mut self, descriptors: u64, reserved: u64) -> Self {
        let own = u64::try_from(self.reserved_connections).unwrap_or(u64::MAX);
        let left = descriptors.saturating_sub(descriptors / 4).saturating_sub(reserved).saturating_sub(own);
        let left = usize::try_from(left.max(MIN_CONNECTIONS)).unwrap_or(usize::MAX);
        self.connections = self.connections.min(left);
        self
    }
}

/// The limits of each address. Together, their connections fit the descriptors.
#[derive(Debug, Clone)]
pub struct AddressLimits {
    /// Of the address for everything, or beside an address of the API's own, of that for webhooks.
    pub public: Limits,
    /// Of the address of the API's own, if there is one.
    pub api: Option<Limits>,
}

impl AddressLimits {
    /// [`Limits::fit_descriptors`] for one address, or with `own_api_address` for two. The API keeps its connections, most of
    /// which may be streams, and a third of their number comes on top, for webhooks.
    #[must_use]
    pub fn fit_descriptors(limits: &Limits, own_api_address: bool, descriptors: u64, reserved: u64) -> Self {
        if !own_api_address {
            return Self { public: limits.clone().fit_descriptors(descriptors, reserved), api: None };
        }
        let reserved = reserved + u64::try_from(limits.reserved_connections).unwrap_or(u64::MAX);
        let both = Limits { connections: limits.connections + limits.connections.div_ceil(3), ..limits.clone() };
        let both = both.fit_descriptors(descriptors, reserved);
        let public = both.connections.div_ceil(4);
        let with = |connections| Limits { connections, ..limits.clone() };
        Self { public: with(public), api: Some(with(both.connections - public)) }
    }

    /// The limits of the address that serves the API.
    #[must_use]
    pub fn of_api(&self) -> &Limits {
        self.api.as_ref().unwrap_or(&self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_share_the_descriptors() {
        for (descriptors, public, api) in [(1 << 20, 4096, 12_288), (4096, 712, 2136), (1024, 136, 408), (0, 4, 12)] {
            let limits = AddressLimits::fit_descriptors(&Limits::default(), true, descriptors, 192);
            assert_eq!((limits.public.connections, limits.of_api().connections), (public, api), "{descriptors}");
        }
        let one = AddressLimits::fit_descriptors(&Limits::default(), false, 1024, 192);
        assert_eq!((one.public.connections, one.of_api().connections, one.api.is_none()), (560, 560, true));
    }

    #[test]
    fn connections_leave_descriptors_for_files_and_the_database() {
        let table = [(1 << 20, 12_288), (16_384, 12_080), (4096, 2864), (1024, 560), (256, 16), (0, 16)];
        for (descriptors, connections) in table {
            let limits = Limits::default().fit_descriptors(descriptors, 192);
            assert_eq!(limits.connections, connections, "{descriptors}");
        }
    }

    #[test]
    fn ten_thousand_requests_may_wait_and_never_on_every_connection() {
        for (connections, held) in [(12_288, 10_240), (12, 10), (3, 2), (1, 0)] {
            assert_eq!(Limits { connections, ..Limits::default() }.held_requests(), held);
        }
    }
}
