//! `LISTEN_ADDR` and `PORT`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;

use super::errors::ConfigErrors;
use super::parse::{non_empty, parse};

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

#[cfg(test)]
mod tests {
    use super::*;

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
