//! Who sends a request, for limits per client.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{Extensions, HeaderMap, HeaderValue};

/// The other end of the connection, an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerAddress(pub(super) IpAddr);

/// The address of the client, as far as it is known.
///
/// Behind a proxy, that is what the proxy added to `X-Forwarded-For`: its last address, because a client can write the others.
/// Only a peer on this machine or in a private network is taken for a proxy. Of an IPv6 address only the network counts, because a
/// client has all of it.
pub(crate) fn client_address(extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
    let peer = extensions.get::<PeerAddress>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0.to_canonical());
    let forwarded = is_private(peer).then(|| last_forwarded(headers)).flatten();
    network(forwarded.unwrap_or(peer))
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

fn last_forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let addresses = headers.get_all("x-forwarded-for").iter().next_back().map(HeaderValue::to_str)?.ok()?;
    let last = addresses.rsplit(',').next()?.trim();
    last.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_in_a_private_network_is_believed_about_the_last_address_only() {
        for (peer, forwarded, client) in [
            ("203.0.113.7", &[][..], "203.0.113.7"),
            ("203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1", " 198.51.100.1 "], "198.51.100.1"),
            ("::1", &["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::"),
            ("::ffff:203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
            ("fd00::1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["unknown"], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1, "], "127.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::"),
        ] {
            let mut extensions = Extensions::new();
            extensions.insert(PeerAddress(peer.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            assert_eq!(client_address(&extensions, &headers).to_string(), client, "{peer} {forwarded:?}");
        }
        assert_eq!(client_address(&Extensions::new(), &HeaderMap::new()).to_string(), "::");
    }
}
