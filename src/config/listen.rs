//! `LISTEN_ADDR` and `PORT`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;

use super::errors::ConfigErrors;
use super::parse::{non_empty, parse};

/// The name of the second address.
const API_LISTEN_ADDR: &str = "API_LISTEN_ADDR";

/// Conflicts with no address.
pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The default port.
const DEFAULT_PORT: u16 = 8080;

/// The flags for the listen address.
#[derive(Debug, Clone, Default, Args)]
pub struct ListenArgs {
    /// The address to listen on (default: 0.0.0.0:8080)
    #[arg(long, env = "LISTEN_ADDR", value_name = "ADDRESS:PORT")]
    listen_addr: Option<String>,
    /// The port to listen on if `LISTEN_ADDR` is not set, as hosting platforms set it
    #[arg(long, env = "PORT", value_name = "PORT")]
    port: Option<String>,
}

impl ListenArgs {
    /// The address to listen on.
    pub fn read(&self, errors: &mut ConfigErrors) -> SocketAddr {
        let everywhere = |port| SocketAddr::from(([0, 0, 0, 0], port));
        match (non_empty(self.listen_addr.as_deref()), non_empty(self.port.as_deref())) {
            (Some(address), _) => parse("LISTEN_ADDR", address, "an address such as 0.0.0.0:8080", errors),
            (None, Some(port)) => parse("PORT", port, "a port from 0 to 65535", errors).map(everywhere),
            (None, None) => None,
        }
        .unwrap_or_else(|| everywhere(DEFAULT_PORT))
    }

    /// The address for a client on this machine: an unspecified address becomes the loopback address.
    pub fn read_for_client(&self, errors: &mut ConfigErrors) -> SocketAddr {
        let address = self.read(errors);
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, address.port())
    }
}

/// The flag for a second address.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ApiListenArgs {
    /// A second address, for everything but the webhook: `LISTEN_ADDR` then serves only `/webhook`, `/livez` and `/readyz`
    #[arg(long, env = API_LISTEN_ADDR, value_name = "ADDRESS:PORT")]
    api_listen_addr: Option<String>,
}

impl ApiListenArgs {
    /// The second address, if there is one. It must not be in the way of the first one.
    pub(super) fn read(&self, public: SocketAddr, errors: &mut ConfigErrors) -> Option<SocketAddr> {
        let text = non_empty(self.api_listen_addr.as_deref())?;
        let address = parse(API_LISTEN_ADDR, text, "an address such as 127.0.0.1:8081", errors)?;
        if conflict(public, address) {
            errors.add(API_LISTEN_ADDR, "must have another port than LISTEN_ADDR");
        }
        Some(address)
    }
}

/// Whether a system refuses to listen on both. Port 0 is any free port.
fn conflict(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && overlap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_address_must_not_overlap_the_first() {
        for (public, api, valid) in [
            ("0.0.0.0:8080", "", true),
            ("0.0.0.0:8080", "127.0.0.1:8081", true),
            ("127.0.0.1:0", "127.0.0.1:0", true),
            ("192.0.2.1:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "0.0.0.0:8080", false),
            ("0.0.0.0:8080", "127.0.0.1:8080", false),
            ("127.0.0.1:8080", "[::]:8080", false),
            ("0.0.0.0:8080", "8081", false),
        ] {
            let mut errors = ConfigErrors::default();
            let read =
                ApiListenArgs { api_listen_addr: Some(api.to_owned()) }.read(public.parse().unwrap(), &mut errors);
            assert_eq!(errors.is_empty(), valid, "{public} and {api}: {errors}");
            assert!(!valid || read.map(|address| address.to_string()).unwrap_or_default() == api);
        }
    }

    fn args(listen_addr: &str, port: &str) -> ListenArgs {
        ListenArgs { listen_addr: Some(listen_addr.to_owned()), port: Some(port.to_owned()) }
    }

    #[test]
    fn the_port_alone_works_and_the_address_takes_precedence() {
        for (listen_addr, port, expected, client) in [
            ("", "", "0.0.0.0:8080", "127.0.0.1:8080"),
            ("", "3000", "0.0.0.0:3000", "127.0.0.1:3000"),
            ("[::]:1", "3000", "[::]:1", "[::1]:1"),
            ("127.0.0.2:1", "", "127.0.0.2:1", "127.0.0.2:1"),
        ] {
            let mut errors = ConfigErrors::default();
            assert_eq!(args(listen_addr, port).read(&mut errors).to_string(), expected);
            assert_eq!(args(listen_addr, port).read_for_client(&mut errors).to_string(), client);
            assert!(errors.is_empty());
        }
    }
}
