//! Judges whether an IP address may be dialled by a downloader that is told by strangers where to dial.
//!
//! A caller gets [`judge`]: `Ok` for an address of the public internet, else the [`NonPublic`] that says what kind of
//! address it is.
//!
//! Guaranteed:
//! - An address is public only if no block of the two tables below holds it, and an IPv6 address only inside
//!   `2000::/3`, the one block that IANA hands out as global unicast. What is not known to be public is refused, so a
//!   block assigned tomorrow is refused today.
//! - An IPv6 address that a kernel or a translator turns into an IPv4 address is public only if the IPv4 address
//!   inside is public, and the forms that nothing honest uses any more (6to4, Teredo, ISATAP, IPv4-compatible) are
//!   refused whatever is inside.
//! - The judgement is pure: same address, same answer, no look at this host's interfaces or routes.
//!
//! Not guaranteed: a network's own NAT64 prefix (the network-specific prefix of RFC 6052) is cut from ordinary global
//! space and cannot be told from it. On a network that translates private IPv4 addresses under such a prefix, the
//! translator has to refuse them.
//!
//! The blocks are those of the IANA special-purpose address registries (RFC 6890 and what updates it),
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>. The standard library's `is_global` would be the
//! place for them, but it is not stable.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::NonPublic::{
    Benchmarking, Broadcast, CloudMetadata, Discard, Documentation, LinkLocal, Loopback, Multicast, Private, Protocol,
    Reserved, Shared, SiteLocal, ThisNetwork, Translated, Tunnel, UniqueLocal, Unspecified,
};

/// The kind of an address that is not on the public internet: why [`judge`] refused it.
///
/// `Display` gives the kind as a noun phrase that goes on from "the address is …", never the address itself: it
/// reaches the people who handed the URL in, and they learn nothing about names that resolve inside this network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NonPublic {
    /// `0.0.0.0` and `::`, which Linux dials as this very host.
    Unspecified,
    /// The rest of `0.0.0.0/8`, "this network".
    ThisNetwork,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// The three private blocks of RFC 1918.
    Private,
    /// `100.64.0.0/10`, shared between a provider and its customers: carrier-grade NAT, overlay networks, pods of
    /// some clusters.
    Shared,
    /// `fc00::/7`, the private addresses of IPv6.
    UniqueLocal,
    /// `169.254.0.0/16` and `fe80::/10`.
    LinkLocal,
    /// `fec0::/10`, the forerunner of the unique local addresses. Deprecated, still routed in old networks.
    SiteLocal,
    /// An address at which a cloud answers its own machines, often with credentials.
    CloudMetadata,
    /// A block kept for protocols, not for servers: `192.0.0.0/24`, `192.88.99.0/24`, `2001::/23`.
    Protocol,
    /// A block for examples in documents.
    Documentation,
    /// A block for benchmarks of network devices.
    Benchmarking,
    /// One to many: no origin of files.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// `100::/64` and `100:0:0:1::/64`: traffic to it is thrown away, or the address is a dummy.
    Discard,
    /// IPv6 carried through IPv4 (6to4, Teredo, ISATAP, IPv4-compatible): a second address hides inside.
    Tunnel,
    /// A NAT64 address whose IPv4 address is not public, or is not known.
    Translated,
    /// Not assigned: `240.0.0.0/4` and all IPv6 outside `2000::/3` that has no kind of its own.
    Reserved,
}

impl NonPublic {
    /// Whether a developer's own servers live here: loopback, and the blocks from which private networks number
    /// themselves.
    ///
    /// `DOWNLOAD_ALLOW_PRIVATE` opens these and no others. The rest stays shut in development as well, above all
    /// link-local and metadata addresses: a laptop's stand-in is never there, a cloud's credentials are.
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

/// `Ok` if the address is on the public internet, else what it is instead.
pub fn judge(ip: IpAddr) -> Result<(), NonPublic> {
    match ip {
        IpAddr::V4(ip) => judge_v4(ip),
        IpAddr::V6(ip) => judge_v6(ip),
    }
}

/// A block of addresses and what they are.
struct Block<A> {
    /// The first address: all bits beyond the prefix are 0.
    start: A,
    /// The length of the prefix, in bits; not 0.
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
    const fn holds(&self, ip: Ipv4Addr) -> bool {
        (self.start.to_bits() ^ ip.to_bits()) >> (32 - self.length) == 0
    }
}

impl Block<Ipv6Addr> {
    const fn holds(&self, ip: Ipv6Addr) -> bool {
        (self.start.to_bits() ^ ip.to_bits()) >> (128 - self.length) == 0
    }
}

/// Every IPv4 block that is not public. The first that holds an address names it, so that the single addresses stand
/// before the blocks around them.
const V4: &[Block<Ipv4Addr>] = &[
    // Where clouds serve credentials: AWS, GCP, Azure and most others; AWS's ECS tasks and EKS pods; Alibaba;
    // Oracle's old one. Azure's wire server is the one that no registry lists: it looks public and is answered by the
    // host under every Azure machine.
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
    // RFC 6890, section 2.1. Two of its addresses (192.0.0.9, .10) are marked global, but are anycast: the nearest
    // relay, maybe our own.
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

/// The IPv6 blocks that are refused outright, in the manner of [`V4`].
///
/// Those outside `2000::/3` would be refused without a line here; they have one so that the refusal says what they
/// are.
const V6: &[Block<Ipv6Addr>] = &[
    // AWS (metadata, names and time share the block) and GCP.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, CloudMetadata),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, CloudMetadata),
    // RFC 4291, sections 2.5.2, 2.5.3.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Unspecified),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback),
    // RFC 4291, section 2.5.5.1: IPv4-compatible addresses, deprecated. Nothing assigns them, so the address inside
    // is not even looked at.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, Tunnel),
    // RFC 8215: NAT64 within one network. Where in the address the IPv4 address stands is that network's choice, so
    // it cannot be judged; and the block exists for what the well-known prefix may not carry, private addresses.
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Translated),
    // RFC 6666; RFC 9780.
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Discard),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Discard),
    // RFC 4380: Teredo. It holds two IPv4 addresses, one of them inverted, and the service is long switched off.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Tunnel),
    // RFC 5180, section 8, and its erratum 1752.
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Benchmarking),
    // RFC 2928: the rest of the block kept for protocols. Some of it is marked global (anycast, identifiers); none of
    // it serves files.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Protocol),
    // RFC 3849; RFC 9637.
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Documentation),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Documentation),
    // RFC 3056, its relays withdrawn by RFC 7526: 6to4 goes to the IPv4 address inside. Refused whatever that is: no
    // origin is there.
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Tunnel),
    // RFC 4193; RFC 4291, section 2.5.6; RFC 3879; RFC 4291, section 2.7.
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, UniqueLocal),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LinkLocal),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, SiteLocal),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Multicast),
];

/// RFC 6052, section 2.1: the well-known prefix of NAT64, with the IPv4 address in the last 32 bits.
const NAT64: Block<Ipv6Addr> = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Translated);

fn judge_v4(ip: Ipv4Addr) -> Result<(), NonPublic> {
    match V4.iter().find(|block| block.holds(ip)) {
        Some(block) => Err(block.kind),
        None => Ok(()),
    }
}

fn judge_v6(ip: Ipv6Addr) -> Result<(), NonPublic> {
    // RFC 4291, section 2.5.5.2: a socket that is told to dial a mapped address dials the IPv4 address, so that is
    // what is judged.
    if let Some(inner) = ip.to_ipv4_mapped() {
        return judge_v4(inner);
    }
    // Judged by the address inside rather than refused: on a network without IPv4, DNS64 (RFC 6147) answers with
    // these for every origin that has no IPv6. RFC 6052, section 3.1, forbids private addresses inside, but whoever
    // makes a URL is not bound by it. The kind of the address inside is not passed on, so that development opens none
    // of it: nobody's stand-in is behind a translator.
    if NAT64.holds(ip) {
        let [.., a, b, c, d] = ip.octets();
        return judge_v4(Ipv4Addr::new(a, b, c, d)).map_err(|_| NAT64.kind);
    }
    if let Some(block) = V6.iter().find(|block| block.holds(ip)) {
        return Err(block.kind);
    }
    let segments = ip.segments();
    // RFC 4291, section 2.4, and IANA's list of address space: only 2000::/3 is handed out as global unicast.
    if segments[0] >> 13 != 0b001 {
        return Err(Reserved);
    }
    // RFC 5214, section 6.1: ISATAP, in any prefix, tunnels to the IPv4 address in the last 32 bits. It is made for
    // use inside one site, so that even a public address there is no public origin. Other hosts have such an
    // identifier by chance once in 2^31.
    if matches!(segments, [_, _, _, _, 0x0000 | 0x0200, 0x5efe, _, _]) {
        return Err(Tunnel);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds every address of a table against its expected judgement, and tells all that differ at once.
    #[track_caller]
    fn assert_judged(table: &[(&str, Result<(), NonPublic>)]) {
        let wrong: Vec<String> = table
            .iter()
            .filter_map(|(text, expected)| {
                let got = judge(text.parse().expect(text));
                (got != *expected).then(|| format!("{text}: {got:?}, expected {expected:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn an_ipv4_address_is_public_unless_a_block_holds_it() {
        assert_judged(&[
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
    fn an_ipv4_block_ends_where_the_registry_ends_it() {
        assert_judged(&[
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
        assert_judged(&[
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
    fn an_ipv6_block_ends_where_the_registry_ends_it() {
        assert_judged(&[
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
    fn a_mapped_address_is_judged_as_the_ipv4_address_that_is_dialled() {
        assert_judged(&[
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
        assert_judged(&[
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
    fn a_tunnel_is_refused_whatever_is_inside() {
        assert_judged(&[
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
    fn the_places_where_clouds_keep_credentials_are_told_from_the_networks_around_them() {
        assert_judged(&[
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
    fn development_opens_private_networks_and_nothing_else() {
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
    fn no_line_of_the_tables_is_hidden_by_an_earlier_one_or_has_bits_beyond_its_prefix() {
        for (at, block) in V4.iter().enumerate() {
            let Block { start, length, .. } = block;
            assert!(
                !V4[..at].iter().any(|earlier| earlier.length <= *length && earlier.holds(*start)),
                "{start}/{length}"
            );
            assert!(*length == 32 || start.to_bits() << length == 0, "{start}/{length}");
        }
        for (at, block) in V6.iter().enumerate() {
            let Block { start, length, .. } = block;
            assert!(
                !V6[..at].iter().any(|earlier| earlier.length <= *length && earlier.holds(*start)),
                "{start}/{length}"
            );
            assert!(*length == 128 || start.to_bits() << length == 0, "{start}/{length}");
        }
    }
}
