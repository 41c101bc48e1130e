//! Decides whether an IP address is public, so that the downloader may connect to it.
//!
//! [`check_public`] returns `Ok` for an address of the public internet, or else the [`NonPublic`] kind of the address.
//!
//! Guaranteed:
//! - An address is public only if it is in no block of the two tables below. An IPv6 address must also be inside `2000::/3`, the
//!   only block that IANA assigns as global unicast. Unknown addresses are rejected, so blocks assigned in the future are
//!   rejected, too.
//! - An IPv6 address that contains an IPv4 address is public only if the IPv4 address is public. Obsolete forms (6to4, Teredo,
//!   ISATAP, IPv4-compatible) are always rejected.
//! - The result only depends on the address.
//!
//! Not guaranteed: a network-specific NAT64 prefix (RFC 6052) looks like any other global prefix. On a network that translates
//! private IPv4 addresses under such a prefix, the translator must reject them.
//!
//! The blocks are from the IANA special-purpose address registries (RFC 6890),
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>. The standard library's `is_global` is not stable.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::NonPublic::{
    Benchmarking, Broadcast, CloudMetadata, Discard, Documentation, LinkLocal, Loopback, Multicast, Private, Protocol,
    Reserved, Shared, SiteLocal, ThisNetwork, Translated, Tunnel, UniqueLocal, Unspecified,
};

/// The kind of an address that is not public.
///
/// `Display` completes "the address is …". It does not contain the address, so that error messages reveal nothing about names
/// inside this network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NonPublic {
    /// `0.0.0.0` and `::`, which Linux connects to the local host.
    Unspecified,
    /// The rest of `0.0.0.0/8`, "this network".
    ThisNetwork,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// The three private blocks of RFC 1918.
    Private,
    /// `100.64.0.0/10`, shared address space: carrier-grade NAT, overlay networks, and pods of some clusters.
    Shared,
    /// `fc00::/7`, the private addresses of IPv6.
    UniqueLocal,
    /// `169.254.0.0/16` and `fe80::/10`.
    LinkLocal,
    /// `fec0::/10`, the deprecated predecessor of unique local addresses. Still routed in old networks.
    SiteLocal,
    /// An address where a cloud provides metadata to its machines, often with credentials.
    CloudMetadata,
    /// A block reserved for protocols, not for servers: `192.0.0.0/24`, `192.88.99.0/24`, `2001::/23`.
    Protocol,
    /// A block for examples in documentation.
    Documentation,
    /// A block for benchmarks of network devices.
    Benchmarking,
    /// A multicast address.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// `100::/64` and `100:0:0:1::/64`: discarded traffic and dummy addresses.
    Discard,
    /// IPv6 through IPv4 (6to4, Teredo, ISATAP, IPv4-compatible), which contains a second address.
    Tunnel,
    /// A NAT64 address whose IPv4 address is not public or not known.
    Translated,
    /// Not assigned: `240.0.0.0/4` and all IPv6 outside `2000::/3` that has no kind of its own.
    Reserved,
}

impl NonPublic {
    /// Whether a developer's own servers may have this address: loopback and private networks.
    ///
    /// `DOWNLOAD_ALLOW_PRIVATE` only allows these. Link-local and metadata addresses stay forbidden in development, because
    /// they may provide a cloud's credentials.
    #[must_use]
    pub const fn is_private_network(self) -> bool {
        matches!(self, Self::Loopback | Self::Private | Self::Shared | Self::UniqueLocal)
    }
}

impl fmt::Display for NonPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "the unspecified address",
            Self::ThisNetwork => "a \"this network\" address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Shared => "a shared (carrier-grade NAT) address",
            Self::UniqueLocal => "a unique local address",
            Self::LinkLocal => "a link-local address",
            Self::SiteLocal => "a site-local address",
            Self::CloudMetadata => "a cloud's metadata address",
            Self::Protocol => "an address reserved for protocols",
            Self::Documentation => "a documentation address",
            Self::Benchmarking => "a benchmarking address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Discard => "a discard address",
            Self::Tunnel => "an IPv6 tunnel's address",
            Self::Translated => "a translated (NAT64) address that does not lead to a public one",
            Self::Reserved => "a reserved address",
        })
    }
}

/// Returns `Ok` if the address is public, or else its kind.
pub(super) fn check_public(ip: IpAddr) -> Result<(), NonPublic> {
    match ip {
        IpAddr::V4(ip) => check_v4(ip),
        IpAddr::V6(ip) => check_v6(ip),
    }
}

/// A block of addresses and their kind.
struct Block<A> {
    /// The first address. All bits after the prefix are 0.
    start: A,
    /// The length of the prefix in bits, at least 1.
    length: u32,
    kind: NonPublic,
}

const fn v4(start: [u8; 4], length: u32, kind: NonPublic) -> Block<Ipv4Addr> {
    Block { start: Ipv4Addr::from_octets(start), length, kind }
}

const fn v6(start: [u16; 8], length: u32, kind: NonPublic) -> Block<Ipv6Addr> {
    Block { start: Ipv6Addr::from_segments(start), length, kind }
}

impl Block<Ipv4Addr> {
    const fn contains(&self, ip: Ipv4Addr) -> bool {
        (self.start.to_bits() ^ ip.to_bits()) >> (32 - self.length) == 0
    }
}

impl Block<Ipv6Addr> {
    const fn contains(&self, ip: Ipv6Addr) -> bool {
        (self.start.to_bits() ^ ip.to_bits()) >> (128 - self.length) == 0
    }
}

/// Every IPv4 block that is not public. The first match determines the kind, so single addresses come before the blocks that
/// contain them.
const V4: &[Block<Ipv4Addr>] = &[
    // Metadata services of clouds: AWS, GCP, Azure, and most others; ECS tasks and EKS pods of AWS; Alibaba; Oracle (old).
    // Azure's wire server is in no registry. It looks public, but the host of an Azure machine answers there.
    v4([169, 254, 169, 254], 32, CloudMetadata),
    v4([169, 254, 170, 2], 32, CloudMetadata),
    v4([169, 254, 170, 23], 32, CloudMetadata),
    v4([100, 100, 100, 200], 32, CloudMetadata),
    v4([192, 0, 0, 192], 32, CloudMetadata),
    v4([168, 63, 129, 16], 32, CloudMetadata),
    // RFC 1122, section 3.2.1.3; RFC 791, section 3.2.
    v4([0, 0, 0, 0], 32, Unspecified),
    v4([0, 0, 0, 0], 8, ThisNetwork),
    v4([127, 0, 0, 0], 8, Loopback),
    // RFC 1918.
    v4([10, 0, 0, 0], 8, Private),
    v4([172, 16, 0, 0], 12, Private),
    v4([192, 168, 0, 0], 16, Private),
    // RFC 6598.
    v4([100, 64, 0, 0], 10, Shared),
    // RFC 3927.
    v4([169, 254, 0, 0], 16, LinkLocal),
    // RFC 6890, section 2.1. Two of its addresses (192.0.0.9, .10) are marked global, but are anycast, so they
    // may lead to a relay in this network.
    v4([192, 0, 0, 0], 24, Protocol),
    // RFC 5737.
    v4([192, 0, 2, 0], 24, Documentation),
    v4([198, 51, 100, 0], 24, Documentation),
    v4([203, 0, 113, 0], 24, Documentation),
    // RFC 7526: the anycast of the 6to4 relays, deprecated.
    v4([192, 88, 99, 0], 24, Protocol),
    // RFC 2544, and its erratum 423.
    v4([198, 18, 0, 0], 15, Benchmarking),
    // RFC 5771.
    v4([224, 0, 0, 0], 4, Multicast),
    // RFC 919, section 7; RFC 1112, section 4.
    v4([255, 255, 255, 255], 32, Broadcast),
    v4([240, 0, 0, 0], 4, Reserved),
];

/// The IPv6 blocks that are not public, like [`V4`].
///
/// Those outside `2000::/3` are only listed for their kinds, because all of them are rejected.
const V6: &[Block<Ipv6Addr>] = &[
    // AWS (metadata, DNS, and NTP share the block) and GCP.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, CloudMetadata),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, CloudMetadata),
    // RFC 4291, sections 2.5.2, 2.5.3.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Unspecified),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback),
    // RFC 4291, section 2.5.5.1: IPv4-compatible addresses, deprecated and not assigned, so the address inside
    // does not matter.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, Tunnel),
    // RFC 8215: NAT64 within one network. The position of the IPv4 address depends on the network, so it
    // cannot be checked. The block exists for private addresses, which the well-known prefix must not contain.
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Translated),
    // RFC 6666; RFC 9780.
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Discard),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Discard),
    // RFC 4380: Teredo. Contains two IPv4 addresses, one of them inverted. The service no longer exists.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Tunnel),
    // RFC 5180, section 8, and its erratum 1752.
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Benchmarking),
    // RFC 2928: the rest of the block reserved for protocols. Parts are marked global (anycast, identifiers), but no
    // file servers are there.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Protocol),
    // RFC 3849; RFC 9637.
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Documentation),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Documentation),
    // RFC 3056, its relays withdrawn by RFC 7526: 6to4 goes to the IPv4 address inside. Always rejected,
    // because no file servers are there.
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Tunnel),
    // RFC 4193; RFC 4291, section 2.5.6; RFC 3879; RFC 4291, section 2.7.
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, UniqueLocal),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LinkLocal),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, SiteLocal),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Multicast),
];

/// RFC 6052, section 2.1: the well-known prefix of NAT64, with the IPv4 address in the last 32 bits.
const NAT64: Block<Ipv6Addr> = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Translated);

fn check_v4(ip: Ipv4Addr) -> Result<(), NonPublic> {
    match V4.iter().find(|block| block.contains(ip)) {
        Some(block) => Err(block.kind),
        None => Ok(()),
    }
}

fn check_v6(ip: Ipv6Addr) -> Result<(), NonPublic> {
    // RFC 4291, section 2.5.5.2: a socket connects to the IPv4 address inside a mapped address, so that one is checked.
    if let Some(inner) = ip.to_ipv4_mapped() {
        return check_v4(inner);
    }
    // The address inside is checked, because on a network without IPv4, DNS64 (RFC 6147) returns such addresses for every host
    // without IPv6. RFC 6052, section 3.1, forbids private addresses inside, but URLs may contain them anyway. The kind of the
    // address inside is not returned, so that private ones stay forbidden in development.
    if NAT64.contains(ip) {
        let [.., a, b, c, d] = ip.octets();
        return check_v4(Ipv4Addr::new(a, b, c, d)).map_err(|_| NAT64.kind);
    }
    if let Some(block) = V6.iter().find(|block| block.contains(ip)) {
        return Err(block.kind);
    }
    let segments = ip.segments();
    // RFC 4291, section 2.4, and IANA's list of address space: only 2000::/3 is assigned as global unicast.
    if segments[0] >> 13 != 0b001 {
        return Err(Reserved);
    }
    // RFC 5214, section 6.1: ISATAP, in any prefix, tunnels to the IPv4 address in the last 32 bits. It is meant for use inside one
    // site, so even a public address there is no public host. Other hosts have such an identifier with a probability of 2^-31.
    if matches!(segments, [_, _, _, _, 0x0000 | 0x0200, 0x5efe, _, _]) {
        return Err(Tunnel);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks every address in a table, and reports all differences.
    #[track_caller]
    fn assert_checked(table: &[(&str, Result<(), NonPublic>)]) {
        let wrong: Vec<String> = table
            .iter()
            .filter_map(|(text, expected)| {
                let got = check_public(text.parse().expect(text));
                (got != *expected).then(|| format!("{text}: {got:?}, expected {expected:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn an_ipv4_address_is_public_unless_a_block_contains_it() {
        assert_checked(&[
            ("1.1.1.1", Ok(())),
            ("8.8.8.8", Ok(())),
            ("34.149.87.45", Ok(())),
            ("99.84.41.7", Ok(())),
            ("223.255.255.254", Ok(())),
            ("0.0.0.0", Err(Unspecified)),
            ("0.0.0.1", Err(ThisNetwork)),
            ("127.0.0.1", Err(Loopback)),
            ("10.0.0.1", Err(Private)),
            ("172.20.1.1", Err(Private)),
            ("192.168.1.1", Err(Private)),
            ("100.101.102.103", Err(Shared)),
            ("169.254.1.1", Err(LinkLocal)),
            ("192.0.0.1", Err(Protocol)),
            ("192.0.0.9", Err(Protocol)),
            ("192.0.0.170", Err(Protocol)),
            ("192.88.99.1", Err(Protocol)),
            ("192.0.2.1", Err(Documentation)),
            ("198.51.100.1", Err(Documentation)),
            ("203.0.113.1", Err(Documentation)),
            ("198.18.0.1", Err(Benchmarking)),
            ("224.0.0.1", Err(Multicast)),
            ("239.255.255.250", Err(Multicast)),
            ("240.0.0.1", Err(Reserved)),
            ("255.255.255.255", Err(Broadcast)),
        ]);
    }

    #[test]
    fn ipv4_blocks_have_the_bounds_of_the_registry() {
        assert_checked(&[
            ("0.255.255.255", Err(ThisNetwork)),
            ("1.0.0.0", Ok(())),
            ("9.255.255.255", Ok(())),
            ("10.255.255.255", Err(Private)),
            ("11.0.0.0", Ok(())),
            ("100.63.255.255", Ok(())),
            ("100.64.0.0", Err(Shared)),
            ("100.127.255.255", Err(Shared)),
            ("100.128.0.0", Ok(())),
            ("126.255.255.255", Ok(())),
            ("127.255.255.255", Err(Loopback)),
            ("128.0.0.0", Ok(())),
            ("169.253.255.255", Ok(())),
            ("169.254.255.255", Err(LinkLocal)),
            ("169.255.0.0", Ok(())),
            ("172.15.255.255", Ok(())),
            ("172.16.0.0", Err(Private)),
            ("172.31.255.255", Err(Private)),
            ("172.32.0.0", Ok(())),
            ("191.255.255.255", Ok(())),
            ("192.0.1.0", Ok(())),
            ("192.0.3.0", Ok(())),
            ("192.88.98.255", Ok(())),
            ("192.88.100.0", Ok(())),
            ("192.167.255.255", Ok(())),
            ("192.169.0.0", Ok(())),
            ("198.17.255.255", Ok(())),
            ("198.19.255.255", Err(Benchmarking)),
            ("198.20.0.0", Ok(())),
            ("198.51.99.255", Ok(())),
            ("198.51.101.0", Ok(())),
            ("203.0.112.255", Ok(())),
            ("203.0.114.0", Ok(())),
            ("239.255.255.255", Err(Multicast)),
            ("255.255.255.254", Err(Reserved)),
        ]);
    }

    #[test]
    fn an_ipv6_address_is_public_only_in_global_unicast() {
        assert_checked(&[
            ("2606:4700:4700::1111", Ok(())),
            ("2001:4860:4860::8888", Ok(())),
            ("2a00:1450:4001:81b::201b", Ok(())),
            ("2000::1", Ok(())),
            ("::", Err(Unspecified)),
            ("::1", Err(Loopback)),
            ("fc00::1", Err(UniqueLocal)),
            ("fd12:3456:789a::1", Err(UniqueLocal)),
            ("fe80::1", Err(LinkLocal)),
            ("fec0::1", Err(SiteLocal)),
            ("ff02::1", Err(Multicast)),
            ("ff0e::1", Err(Multicast)),
            ("2001:db8::1", Err(Documentation)),
            ("3fff::1", Err(Documentation)),
            ("100::1", Err(Discard)),
            ("100:0:0:1::1", Err(Discard)),
            ("2001:2::1", Err(Benchmarking)),
            ("2001:1::1", Err(Protocol)),
            ("2001:20::1", Err(Protocol)),
            // Segment routing (RFC 9602), and space that nobody has.
            ("5f00::1", Err(Reserved)),
            ("4000::1", Err(Reserved)),
            ("200::1", Err(Reserved)),
            ("100:0:0:2::1", Err(Reserved)),
        ]);
    }

    #[test]
    fn ipv6_blocks_have_the_bounds_of_the_registry() {
        assert_checked(&[
            ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Err(Reserved)),
            ("2000::", Ok(())),
            ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Err(Protocol)),
            ("2001:200::", Ok(())),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", Ok(())),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Err(Documentation)),
            ("2001:db9::", Ok(())),
            ("2003::", Ok(())),
            ("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Ok(())),
            ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Err(Documentation)),
            ("3fff:1000::", Ok(())),
            ("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Err(Reserved)),
            ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Err(UniqueLocal)),
            ("fe00::", Err(Reserved)),
            ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Err(Reserved)),
            ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Err(LinkLocal)),
            ("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Err(SiteLocal)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Err(Multicast)),
        ]);
    }

    #[test]
    fn a_mapped_address_is_checked_like_its_ipv4_address() {
        assert_checked(&[
            ("::ffff:8.8.8.8", Ok(())),
            ("::ffff:127.0.0.1", Err(Loopback)),
            ("::ffff:7f00:1", Err(Loopback)),
            ("::ffff:10.0.0.1", Err(Private)),
            ("::ffff:0.0.0.0", Err(Unspecified)),
            ("::ffff:169.254.169.254", Err(CloudMetadata)),
            ("::ffff:100.64.0.1", Err(Shared)),
            // RFC 2765's "translated" form is another block, and nobody's.
            ("::ffff:0:8.8.8.8", Err(Reserved)),
        ]);
    }

    #[test]
    fn a_nat64_address_is_public_only_with_a_public_address_inside() {
        assert_checked(&[
            ("64:ff9b::8.8.8.8", Ok(())),
            ("64:ff9b::127.0.0.1", Err(Translated)),
            ("64:ff9b::10.0.0.1", Err(Translated)),
            ("64:ff9b::a9fe:a9fe", Err(Translated)),
            ("64:ff9b::100.64.0.1", Err(Translated)),
            // 8.8.8.8 stands inside, but not where the well-known prefix has it.
            ("64:ff9b:0:0:0:1:808:808", Err(Reserved)),
            ("64:ff9b:1::8.8.8.8", Err(Translated)),
            ("64:ff9b:1:ffff::10.0.0.1", Err(Translated)),
            ("64:ff9b:2::8.8.8.8", Err(Reserved)),
        ]);
    }

    #[test]
    fn a_tunnel_is_always_rejected() {
        assert_checked(&[
            ("::8.8.8.8", Err(Tunnel)),
            ("::127.0.0.1", Err(Tunnel)),
            ("::2", Err(Tunnel)),
            ("2002:808:808::1", Err(Tunnel)),
            ("2002:7f00:1::1", Err(Tunnel)),
            ("2002:a9fe:a9fe::", Err(Tunnel)),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Err(Tunnel)),
            ("2001::1", Err(Tunnel)),
            ("2606:4700::5efe:10.0.0.1", Err(Tunnel)),
            ("2606:4700::200:5efe:8.8.8.8", Err(Tunnel)),
            // Only the universal bit may be set in an ISATAP identifier.
            ("2606:4700::100:5efe:8.8.8.8", Ok(())),
            ("fe80::5efe:10.0.0.1", Err(LinkLocal)),
        ]);
    }

    #[test]
    fn metadata_addresses_of_clouds_have_their_own_kind() {
        assert_checked(&[
            ("169.254.169.254", Err(CloudMetadata)),
            ("169.254.170.2", Err(CloudMetadata)),
            ("169.254.170.23", Err(CloudMetadata)),
            ("100.100.100.200", Err(CloudMetadata)),
            ("192.0.0.192", Err(CloudMetadata)),
            ("168.63.129.16", Err(CloudMetadata)),
            ("168.63.129.17", Ok(())),
            ("fd00:ec2::254", Err(CloudMetadata)),
            ("fd20:ce::254", Err(CloudMetadata)),
            ("fd20:ce::253", Err(UniqueLocal)),
        ]);
    }

    #[test]
    fn development_only_allows_private_networks() {
        for kind in [Loopback, Private, Shared, UniqueLocal] {
            assert!(kind.is_private_network(), "{kind:?}");
        }
        for kind in [
            Unspecified,
            ThisNetwork,
            LinkLocal,
            SiteLocal,
            CloudMetadata,
            Protocol,
            Documentation,
            Benchmarking,
            Multicast,
            Broadcast,
            Discard,
            Tunnel,
            Translated,
            Reserved,
        ] {
            assert!(!kind.is_private_network(), "{kind:?}");
        }
    }

    #[test]
    fn every_block_of_the_tables_is_reachable_and_well_formed() {
        for (at, block) in V4.iter().enumerate() {
            let Block { start, length, .. } = block;
            assert!(
                !V4[..at].iter().any(|earlier| earlier.length <= *length && earlier.contains(*start)),
                "{start}/{length}"
            );
            assert!(*length == 32 || start.to_bits() << length == 0, "{start}/{length}");
        }
        for (at, block) in V6.iter().enumerate() {
            let Block { start, length, .. } = block;
            assert!(
                !V6[..at].iter().any(|earlier| earlier.length <= *length && earlier.contains(*start)),
                "{start}/{length}"
            );
            assert!(*length == 128 || start.to_bits() << length == 0, "{start}/{length}");
        }
    }
}
