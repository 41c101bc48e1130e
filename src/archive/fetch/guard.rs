//! Decides which URLs may be downloaded.
//!
//! A [`Guard`] is created from the settings. It checks URLs ([`Guard::admit`], [`Guard::check_url`]), addresses
//! ([`Guard::check_address`]), and redirects ([`Guard::follow`]), and returns a [`UrlRejection`] with the reason and advice.
//!
//! Guaranteed:
//! - An accepted URL is https, has no user or password, and has a host under one of the allowed suffixes (if there are any)
//!   or a public IP address. `DOWNLOAD_ALLOW_PRIVATE` additionally allows http and private networks, and nothing else.
//! - Redirects follow the same rules as URLs, and there are at most [`MAX_REDIRECTS`].
//! - Decisions only depend on the settings, so repeating a check gives the same result.
//! - A rejection contains no part of the URL, because its query is a credential.
//!
//! Host names are only checked against the list of suffixes here. [`GuardedResolver`](super::resolve::GuardedResolver) checks
//! the addresses that they resolve to, because a second lookup could return others. IP addresses in URLs are checked here,
//! because HTTP clients do not resolve them. Both checks are needed, and the client must not follow redirects itself or use
//! proxies.
//!
//! Hosts are compared in the normalized form of [`url`] (lowercase, punycode, percent-decoded; `0x7f.1` and `2130706433` become
//! `127.0.0.1`), which is also what the client connects to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

use super::address::{self, NonPublic};

/// The maximum number of redirects per download. Object stores and CDNs need one.
const MAX_REDIRECTS: usize = 3;

/// The rules for URLs and addresses, as set by `DOWNLOAD_ALLOWED_HOSTS` and `DOWNLOAD_ALLOW_PRIVATE`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    /// If empty, any host is allowed.
    allowed_hosts: Arc<[HostSuffix]>,
    allow_private: bool,
}

impl Guard {
    /// Allows hosts under `allowed_hosts`, or any host if it is empty. With `allow_private`, also allows http and private
    /// networks.
    #[must_use]
    pub fn new(allowed_hosts: Vec<HostSuffix>, allow_private: bool) -> Self {
        Self { allowed_hosts: allowed_hosts.into(), allow_private }
    }

    /// Parses and checks a URL.
    pub fn admit(&self, text: &str) -> Result<Url, UrlRejection> {
        let url = Url::parse(text).map_err(|_| UrlRejection::InvalidUrl)?;
        self.check_url(&url)?;
        Ok(url)
    }

    /// Checks a URL without using the network.
    pub fn check_url(&self, url: &Url) -> Result<(), UrlRejection> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private => {}
            "http" => return Err(UrlRejection::NotHttps),
            _ => return Err(UrlRejection::UnsupportedScheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRejection::Userinfo);
        }
        match url.host() {
            Some(Host::Domain(name)) => self.check_name(name),
            Some(Host::Ipv4(ip)) => self.check_literal(ip.into()),
            Some(Host::Ipv6(ip)) => self.check_literal(ip.into()),
            // Unreachable, because every parsed http or https URL has a host.
            None => Err(UrlRejection::InvalidUrl),
        }
    }

    /// Checks an address from a URL or from DNS before connecting to it.
    pub fn check_address(&self, ip: IpAddr) -> Result<(), UrlRejection> {
        match address::check_public(ip) {
            Err(kind) if self.allow_private && kind.is_private_network() => Ok(()),
            checked => checked.map_err(UrlRejection::PrivateAddress),
        }
    }

    /// Checks a redirect and returns the next URL.
    ///
    /// `from` is the URL that answered, `location` the raw value of its `Location` header (empty if missing), and `hops_so_far`
    /// the number of redirects already followed for this download. A relative location is joined to `from`. The fragment is
    /// removed, because it is never sent.
    pub fn follow(&self, from: &Url, location: &[u8], hops_so_far: usize) -> Result<Url, UrlRejection> {
        if hops_so_far >= MAX_REDIRECTS {
            return Err(UrlRejection::TooManyRedirects);
        }
        let location = str::from_utf8(location.trim_ascii()).map_err(|_| UrlRejection::InvalidRedirect)?;
        // According to RFC 3986, an empty reference is the same document, which would be a loop.
        if location.is_empty() {
            return Err(UrlRejection::InvalidRedirect);
        }
        let mut next = from.join(location).map_err(|_| UrlRejection::InvalidRedirect)?;
        next.set_fragment(None);
        self.check_url(&next)?;
        Ok(next)
    }

    fn check_name(&self, name: &str) -> Result<(), UrlRejection> {
        if self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(|suffix| suffix.matches(name)) {
            Ok(())
        } else {
            Err(UrlRejection::HostNotAllowed)
        }
    }

    /// Checks the address first, because that reason cannot be fixed with the list of hosts.
    fn check_literal(&self, ip: IpAddr) -> Result<(), UrlRejection> {
        self.check_address(ip)?;
        if self.allowed_hosts.is_empty() { Ok(()) } else { Err(UrlRejection::HostNotAllowed) }
    }
}

/// Why a URL is rejected.
///
/// [`code`](Self::code) is stable and for programs. `Display` is for people and includes advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UrlRejection {
    /// The text is not an absolute URL with a host.
    #[error("the download's URL is invalid: it is not an absolute URL with a host")]
    InvalidUrl,
    /// The scheme is `http`.
    #[error(
        "the URL is not https, and files are fetched over https only: DOWNLOAD_ALLOW_PRIVATE=true allows http, in development"
    )]
    NotHttps,
    /// The scheme is neither `https` nor `http`.
    #[error("the URL is not https, and files are fetched over https only: ask for an https URL")]
    UnsupportedScheme,
    /// The URL has a user or password, which may disguise the host or leak into logs.
    #[error(
        "the URL contains a user name or password, and such URLs are not allowed: ask Magic Hour for a URL without them"
    )]
    Userinfo,
    /// The host is under none of the allowed suffixes.
    #[error("the URL's host is not in DOWNLOAD_ALLOWED_HOSTS: add it if you trust it, then retry the download")]
    HostNotAllowed,
    /// The URL's address, or one of the addresses of its host, is not public.
    #[error("the URL leads to {0}, but files are only downloaded from public addresses{advice}", advice = private_advice(*.0))]
    PrivateAddress(NonPublic),
    /// There were more redirects than are followed.
    #[error("the server redirected more than {MAX_REDIRECTS} times")]
    TooManyRedirects,
    /// A redirect without a valid `Location`.
    #[error("the server redirected without a valid `Location`")]
    InvalidRedirect,
}

impl UrlRejection {
    /// A stable code for the database, metrics, and answers.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidUrl => "invalid_url",
            Self::NotHttps | Self::UnsupportedScheme => "not_https",
            Self::Userinfo => "userinfo_in_url",
            Self::HostNotAllowed => "host_not_allowed",
            Self::PrivateAddress(_) => "private_address",
            Self::TooManyRedirects => "too_many_redirects",
            Self::InvalidRedirect => "invalid_redirect",
        }
    }
}

/// Mentions the setting only if it helps.
fn private_advice(kind: NonPublic) -> &'static str {
    if kind.is_private_network() { ": DOWNLOAD_ALLOW_PRIVATE=true allows this one, in development" } else { "" }
}

/// An entry of `DOWNLOAD_ALLOWED_HOSTS`: a domain that is allowed with all its subdomains.
///
/// `magichour.ai` and `.magichour.ai` mean the same: `magichour.ai` and `videos.magichour.ai` match, but `evilmagichour.ai` does
/// not. Case and one trailing dot do not matter, and international names are converted to punycode. It never matches IP
/// addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostSuffix(
    /// Normalized like hosts in [`url`]: lowercase, punycode, and no dot at either end.
    String,
);

impl HostSuffix {
    /// Whether the host `name`, as normalized by [`url`], matches.
    fn matches(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match name.strip_suffix(self.0.as_str()) {
            Some(before) => before.is_empty() || before.ends_with('.'),
            None => false,
        }
    }
}

impl fmt::Display for HostSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostSuffix {
    type Err = InvalidHostSuffix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Common mistakes get their own messages. `url` finds all others.
        if text.is_empty() {
            return Err(InvalidHostSuffix::Empty);
        }
        if text.contains(char::is_whitespace) {
            return Err(InvalidHostSuffix::Space);
        }
        if text.contains("://") {
            return Err(InvalidHostSuffix::Scheme);
        }
        if text.contains('*') {
            return Err(InvalidHostSuffix::Wildcard);
        }
        if text.starts_with('[') || text.parse::<IpAddr>().is_ok() {
            return Err(InvalidHostSuffix::Address);
        }
        if text.contains(':') {
            return Err(InvalidHostSuffix::Port);
        }
        match Host::parse(text.strip_prefix('.').unwrap_or(text)) {
            Ok(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                // `url` accepts more than DNS does, such as `a;b`, which is a list with a wrong separator.
                if name.split('.').all(is_label) { Ok(Self(name.to_owned())) } else { Err(InvalidHostSuffix::NotAHost) }
            }
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(InvalidHostSuffix::Address),
            Err(_) => Err(InvalidHostSuffix::NotAHost),
        }
    }
}

/// Letters, digits, hyphens, and underscores, which occur in bucket names.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Why an entry of `DOWNLOAD_ALLOWED_HOSTS` is invalid. `Display` says what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostSuffix {
    /// An empty entry.
    #[error("an entry is empty: remove the extra comma (without any entry, all public hosts are allowed)")]
    Empty,
    /// Whitespace, including at an end.
    #[error("a host suffix contains no spaces: separate entries by commas only, like `magichour.ai,example.com`")]
    Space,
    /// A whole URL.
    #[error("a host suffix has no scheme: write `magichour.ai`, not `https://magichour.ai`")]
    Scheme,
    /// `host:port`.
    #[error("a host suffix has no port: write `magichour.ai`, which allows it on every port")]
    Port,
    /// `*.host`.
    #[error("a host suffix has no wildcards: write `magichour.ai`, which allows it and every name under it")]
    Wildcard,
    /// An IP address.
    #[error(
        "an IP address is not a host suffix: addresses in URLs are never allowed while DOWNLOAD_ALLOWED_HOSTS is set"
    )]
    Address,
    /// Anything else that is not a host name.
    #[error("this is not a host name: write a domain such as `magichour.ai`")]
    NotAHost,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suffixes(list: &[&str]) -> Vec<HostSuffix> {
        list.iter().map(|text| text.parse().expect(text)).collect()
    }

    fn any_host() -> Guard {
        Guard::new(Vec::new(), false)
    }

    fn listed() -> Guard {
        Guard::new(suffixes(&["magichour.ai", ".storage.googleapis.com"]), false)
    }

    fn development() -> Guard {
        Guard::new(Vec::new(), true)
    }

    /// Checks the code (or `ok`) for every URL in a table, and reports all differences.
    #[track_caller]
    fn assert_admits(guard: &Guard, table: &[(&str, &str)]) {
        let wrong: Vec<String> = table
            .iter()
            .filter_map(|(text, expected)| {
                let got = guard.admit(text).map_or_else(UrlRejection::code, |_| "ok");
                (got != *expected).then(|| format!("{text}: {got}, expected {expected}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// URLs in every form.
    const FORMS: &[(&str, &str)] = &[
        ("https://videos.magichour.ai/id/output.mp4?X-Goog-Signature=abc", "ok"),
        ("HTTPS://VIDEOS.MAGICHOUR.AI/id/output.mp4", "ok"),
        ("https://example.com", "ok"),
        ("https://example.com:8443/a.mp4", "ok"),
        ("https://example.com:443/a.mp4", "ok"),
        // Browsers accept these, too.
        ("https:example.com/a.mp4", "ok"),
        ("https:\\\\example.com\\a.mp4", "ok"),
        ("  https://example.com/a.mp4\n", "ok"),
        ("http://example.com/a.mp4", "not_https"),
        ("http://example.com:443/a.mp4", "not_https"),
        ("ftp://example.com/a.mp4", "not_https"),
        ("ws://example.com/a.mp4", "not_https"),
        ("file:///etc/passwd", "not_https"),
        ("file://example.com/etc/passwd", "not_https"),
        ("data:text/plain,hello", "not_https"),
        ("javascript:alert(1)", "not_https"),
        ("gopher://example.com:70/_x", "not_https"),
        ("s3://bucket/key", "not_https"),
        ("blob:https://example.com/1234", "not_https"),
        ("view-source:https://example.com/", "not_https"),
        ("httpss://example.com/", "not_https"),
        ("https://user@example.com/a.mp4", "userinfo_in_url"),
        ("https://user:secret@example.com/a.mp4", "userinfo_in_url"),
        ("https://:secret@example.com/a.mp4", "userinfo_in_url"),
        ("https://magichour.ai@example.com/a.mp4", "userinfo_in_url"),
        ("https://magichour.ai%2f@example.com/a.mp4", "userinfo_in_url"),
        ("https://magichour.ai:443@example.com/a.mp4", "userinfo_in_url"),
        ("https://a@b@example.com/a.mp4", "userinfo_in_url"),
        // An empty userinfo is none, and an at sign after the host is none either.
        ("https://@example.com/a.mp4", "ok"),
        ("https://example.com/@user/a.mp4", "ok"),
        ("https://example.com?a@b", "ok"),
        ("", "invalid_url"),
        ("/id/output.mp4", "invalid_url"),
        ("//example.com/a.mp4", "invalid_url"),
        ("example.com/a.mp4", "invalid_url"),
        ("https://", "invalid_url"),
        ("https:///", "invalid_url"),
        ("https://:443/", "invalid_url"),
        ("https://user@/", "invalid_url"),
        ("https://exa mple.com/", "invalid_url"),
        ("https://example.com:99999/", "invalid_url"),
        ("https://example.com:port/", "invalid_url"),
        ("https://exa%00mple.com/", "invalid_url"),
    ];

    #[test]
    fn only_https_with_a_host_and_without_userinfo_passes() {
        assert_admits(&any_host(), FORMS);
    }

    /// Addresses in every notation.
    const ADDRESSES: &[(&str, &str)] = &[
        ("https://8.8.8.8/a.mp4", "ok"),
        ("https://134744072/a.mp4", "ok"),
        ("https://[2606:4700:4700::1111]/a.mp4", "ok"),
        ("https://[::ffff:8.8.8.8]/a.mp4", "ok"),
        ("https://127.0.0.1/", "private_address"),
        ("https://127.0.0.1:8443/", "private_address"),
        ("https://127.0.0.1./", "private_address"),
        ("https://127.1/", "private_address"),
        ("https://2130706433/", "private_address"),
        ("https://0x7f000001/", "private_address"),
        ("https://0X7F.1/", "private_address"),
        ("https://017700000001/", "private_address"),
        ("https://0177.0.0.1/", "private_address"),
        ("https://0x7f.0.0.0x1/", "private_address"),
        ("https://0/", "private_address"),
        ("https://%31%32%37.0.0.1/", "private_address"),
        ("https://１２７.0.0.1/", "private_address"),
        ("https://①②⑦.0.0.1/", "private_address"),
        ("https://127。0。0。1/", "private_address"),
        ("https://127.0.0.1\\@example.com/", "private_address"),
        ("https://127.0.0.1#@example.com/", "private_address"),
        ("https://127.0.0.1?@example.com/", "private_address"),
        ("https://169.254.169.254/latest/meta-data/", "private_address"),
        ("https://0xa9fea9fe/latest/meta-data/", "private_address"),
        ("https://100.64.0.1/", "private_address"),
        ("https://[::1]/", "private_address"),
        ("https://[::1]:8443/", "private_address"),
        ("https://[0:0:0:0:0:0:0:1]/", "private_address"),
        ("https://[::]/", "private_address"),
        ("https://[::ffff:127.0.0.1]/", "private_address"),
        ("https://[::ffff:7f00:1]/", "private_address"),
        ("https://[::FFFF:169.254.169.254]/", "private_address"),
        ("https://[64:ff9b::127.0.0.1]/", "private_address"),
        ("https://[2002:7f00:1::]/", "private_address"),
        ("https://[fd00::1]/", "private_address"),
        // Numbers that are no address are no name either.
        ("https://256.0.0.1/", "invalid_url"),
        ("https://1.2.3.4.5/", "invalid_url"),
        ("https://example.com.1/", "invalid_url"),
        ("https://[fe80::1%25eth0]/", "invalid_url"),
        ("https://[127.0.0.1]/", "invalid_url"),
        ("https://::1/", "invalid_url"),
        // A name, whatever it resolves to: the resolver checks that.
        ("https://localhost/", "ok"),
        ("https://127.0.0.1.example.com/", "ok"),
    ];

    #[test]
    fn an_address_in_a_url_is_checked_in_every_notation() {
        assert_admits(&any_host(), ADDRESSES);
    }

    /// Hosts under the allowed suffixes, and others that look like them.
    const HOSTS: &[(&str, &str)] = &[
        ("https://magichour.ai/a.mp4", "ok"),
        ("https://videos.magichour.ai/a.mp4", "ok"),
        ("https://a.b.c.magichour.ai/a.mp4", "ok"),
        ("https://videos.magichour.ai:8443/a.mp4", "ok"),
        ("https://VIDEOS.MagicHour.AI/a.mp4", "ok"),
        ("https://videos.magichour.ai./a.mp4", "ok"),
        ("https://storage.googleapis.com/bucket/a.mp4", "ok"),
        ("https://bucket.storage.googleapis.com/a.mp4", "ok"),
        ("https://my_bucket.storage.googleapis.com/a.mp4", "ok"),
        // Other letters and dots that IDNA says are the same.
        ("https://videos.magichour。ai/a.mp4", "ok"),
        ("https://videos．magichour｡ai/a.mp4", "ok"),
        ("https://ｍagichour.ai/a.mp4", "ok"),
        ("https://%6dagichour.ai/a.mp4", "ok"),
        ("https://magic\u{ad}hour.ai/a.mp4", "ok"),
        ("https://magic\thour.ai/a.mp4", "ok"),
        ("https://evilmagichour.ai/a.mp4", "host_not_allowed"),
        ("https://evil-magichour.ai/a.mp4", "host_not_allowed"),
        ("https://magichour.ai.evil.com/a.mp4", "host_not_allowed"),
        ("https://magichour.ai.evil.com./a.mp4", "host_not_allowed"),
        ("https://magichour.ai-evil.com/a.mp4", "host_not_allowed"),
        ("https://magichour.ai../a.mp4", "host_not_allowed"),
        ("https://ai/a.mp4", "host_not_allowed"),
        ("https://magichour.aix/a.mp4", "host_not_allowed"),
        ("https://magichour.com/a.mp4", "host_not_allowed"),
        ("https://googleapis.com/a.mp4", "host_not_allowed"),
        ("https://evil.com/magichour.ai", "host_not_allowed"),
        ("https://evil.com?magichour.ai", "host_not_allowed"),
        ("https://evil.com?.magichour.ai", "host_not_allowed"),
        ("https://evil.com#.magichour.ai", "host_not_allowed"),
        ("https://evil.com\\.magichour.ai", "host_not_allowed"),
        ("https://evil.com\\@magichour.ai/", "host_not_allowed"),
        ("https://evil.com/@magichour.ai", "host_not_allowed"),
        ("https://localhost/a.mp4", "host_not_allowed"),
        // The first letter `a` is Cyrillic.
        ("https://m\u{430}gichour.ai/a.mp4", "host_not_allowed"),
        ("https://evil.com@magichour.ai/a.mp4", "userinfo_in_url"),
        ("https://evil.com%2f.magichour.ai/a.mp4", "invalid_url"),
        ("http://videos.magichour.ai/a.mp4", "not_https"),
        // An address is under no suffix, and a private one is that before all.
        ("https://8.8.8.8/a.mp4", "host_not_allowed"),
        ("https://[2606:4700:4700::1111]/a.mp4", "host_not_allowed"),
        ("https://127.0.0.1/a.mp4", "private_address"),
    ];

    #[test]
    fn a_host_passes_under_an_allowed_suffix_at_a_label_boundary() {
        assert_admits(&listed(), HOSTS);
    }

    #[test]
    fn development_allows_http_and_private_networks_and_nothing_else() {
        assert_admits(
            &development(),
            &[
                ("http://localhost:9000/a.mp4", "ok"),
                ("http://127.0.0.1:9000/a.mp4", "ok"),
                ("https://127.0.0.1:9000/a.mp4", "ok"),
                ("http://[::1]:9000/a.mp4", "ok"),
                ("http://[::ffff:127.0.0.1]:9000/a.mp4", "ok"),
                ("http://192.168.1.20/a.mp4", "ok"),
                ("http://100.101.102.103/a.mp4", "ok"),
                ("http://[fd12::1]/a.mp4", "ok"),
                ("http://example.com/a.mp4", "ok"),
                ("https://8.8.8.8/a.mp4", "ok"),
                ("http://169.254.169.254/latest/meta-data/", "private_address"),
                ("http://[::ffff:169.254.169.254]/latest/meta-data/", "private_address"),
                ("http://[fd00:ec2::254]/latest/meta-data/", "private_address"),
                ("http://100.100.100.200/latest/meta-data/", "private_address"),
                ("http://169.254.1.1/", "private_address"),
                ("http://[64:ff9b::127.0.0.1]/", "private_address"),
                ("http://0.0.0.0:9000/", "private_address"),
                ("http://224.0.0.1/", "private_address"),
                ("http://user@127.0.0.1:9000/", "userinfo_in_url"),
                ("ftp://127.0.0.1/a.mp4", "not_https"),
                ("file:///etc/passwd", "not_https"),
            ],
        );
    }

    #[test]
    fn the_list_of_hosts_also_applies_in_development() {
        assert_admits(
            &Guard::new(suffixes(&["localhost"]), true),
            &[
                ("http://localhost:9000/a.mp4", "ok"),
                ("http://files.localhost:9000/a.mp4", "ok"),
                ("http://example.com/a.mp4", "host_not_allowed"),
                ("http://127.0.0.1:9000/a.mp4", "host_not_allowed"),
            ],
        );
    }

    #[test]
    fn a_redirect_is_joined_to_its_base_and_loses_its_fragment() {
        let guard = listed();
        let from = Url::parse("https://videos.magichour.ai/a/b/output.mp4?sig=1#t=10").expect("a URL");
        for (location, expected) in [
            ("https://bucket.storage.googleapis.com/x?sig=2", "https://bucket.storage.googleapis.com/x?sig=2"),
            ("https://magichour.ai/x#t=20", "https://magichour.ai/x"),
            ("//magichour.ai/x", "https://magichour.ai/x"),
            ("/x", "https://videos.magichour.ai/x"),
            ("x.mp4", "https://videos.magichour.ai/a/b/x.mp4"),
            ("../x.mp4?sig=2", "https://videos.magichour.ai/a/x.mp4?sig=2"),
            ("?sig=2", "https://videos.magichour.ai/a/b/output.mp4?sig=2"),
            ("#t=20", "https://videos.magichour.ai/a/b/output.mp4?sig=1"),
            ("  /x  ", "https://videos.magichour.ai/x"),
            ("/é", "https://videos.magichour.ai/%C3%A9"),
        ] {
            let next = guard.follow(&from, location.as_bytes(), 0).map(String::from);
            assert_eq!(next.as_deref(), Ok(expected), "{location}");
        }
    }

    #[test]
    fn a_redirect_follows_the_same_rules_as_a_url() {
        let guard = listed();
        let from = Url::parse("https://videos.magichour.ai/a/b/output.mp4?sig=1").expect("a URL");
        for (location, expected) in [
            ("http://videos.magichour.ai/x", "not_https"),
            ("file:///etc/passwd", "not_https"),
            ("data:text/plain,hello", "not_https"),
            ("https://evil.com/x", "host_not_allowed"),
            ("//evil.com/x", "host_not_allowed"),
            ("\\\\evil.com\\x", "host_not_allowed"),
            ("/\\evil.com/x", "host_not_allowed"),
            ("/\t/evil.com/x", "host_not_allowed"),
            ("https://user@magichour.ai/x", "userinfo_in_url"),
            ("//user:secret@magichour.ai/x", "userinfo_in_url"),
            ("https://127.0.0.1/x", "private_address"),
            ("//[::1]/x", "private_address"),
            ("//2852039166/latest/meta-data/", "private_address"),
            ("https://", "invalid_redirect"),
            ("https://magichour.ai:99999/", "invalid_redirect"),
            ("//exa mple.com/", "invalid_redirect"),
            ("", "invalid_redirect"),
            ("   ", "invalid_redirect"),
        ] {
            let rejection = guard.follow(&from, location.as_bytes(), 0).expect_err(location);
            assert_eq!(rejection.code(), expected, "{location}");
        }
        assert_eq!(guard.follow(&from, b"/\xff", 0), Err(UrlRejection::InvalidRedirect));
    }

    #[test]
    fn a_redirect_to_http_is_only_allowed_in_development() {
        let from = Url::parse("https://localhost/a").expect("a URL");
        assert_eq!(any_host().follow(&from, b"http://localhost/b", 0), Err(UrlRejection::NotHttps));
        assert_eq!(
            development().follow(&from, b"http://localhost/b", 0).map(String::from),
            Ok("http://localhost/b".to_owned())
        );
    }

    #[test]
    fn the_fourth_redirect_is_one_too_many() {
        let guard = any_host();
        let mut url = Url::parse("https://example.com/0").expect("a URL");
        for (hops_so_far, location) in ["/1", "/2", "/3"].into_iter().enumerate() {
            url = guard.follow(&url, location.as_bytes(), hops_so_far).expect(location);
        }
        assert_eq!(url.as_str(), "https://example.com/3");
        assert_eq!(guard.follow(&url, b"/4", 3), Err(UrlRejection::TooManyRedirects));
        assert_eq!(guard.follow(&url, b"/4", usize::MAX), Err(UrlRejection::TooManyRedirects));
    }

    #[test]
    fn a_host_suffix_is_normalized() {
        for (text, expected) in [
            ("magichour.ai", "magichour.ai"),
            (".magichour.ai", "magichour.ai"),
            ("MagicHour.AI", "magichour.ai"),
            ("magichour.ai.", "magichour.ai"),
            (".magichour.ai.", "magichour.ai"),
            ("localhost", "localhost"),
            ("my_bucket.example.com", "my_bucket.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<HostSuffix>().map(|suffix| suffix.to_string()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_invalid_host_suffix_has_a_specific_error() {
        use InvalidHostSuffix::{Address, Empty, NotAHost, Port, Scheme, Space, Wildcard};
        for (text, expected) in [
            ("", Empty),
            (" ", Space),
            (" magichour.ai", Space),
            ("magichour.ai example.com", Space),
            ("magichour.ai\n", Space),
            ("https://magichour.ai", Scheme),
            ("https://*.magichour.ai:443/", Scheme),
            ("*", Wildcard),
            ("*.magichour.ai", Wildcard),
            ("magichour.ai:443", Port),
            ("localhost:", Port),
            ("127.0.0.1", Address),
            (".127.0.0.1", Address),
            ("127.1", Address),
            ("0.1", Address),
            ("::1", Address),
            ("[::1]", Address),
            ("[::1]:443", Address),
            (".", NotAHost),
            ("..", NotAHost),
            ("..magichour.ai", NotAHost),
            ("magichour..ai", NotAHost),
            ("magichour.ai..", NotAHost),
            ("magichour.ai/", NotAHost),
            ("magichour.ai/path", NotAHost),
            ("user@magichour.ai", NotAHost),
            ("magichour.ai?x", NotAHost),
            ("magichour.ai;example.com", NotAHost),
            ("magichour.ai,example.com", NotAHost),
            ("\"magichour.ai\"", NotAHost),
            ("xn--a", NotAHost),
        ] {
            assert_eq!(text.parse::<HostSuffix>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_rejection_mentions_the_setting_or_the_cause() {
        for (rejection, expected) in [
            (UrlRejection::NotHttps, "DOWNLOAD_ALLOW_PRIVATE"),
            (UrlRejection::HostNotAllowed, "DOWNLOAD_ALLOWED_HOSTS"),
            (UrlRejection::PrivateAddress(NonPublic::Loopback), "a loopback address"),
            (UrlRejection::PrivateAddress(NonPublic::Loopback), "DOWNLOAD_ALLOW_PRIVATE"),
            (UrlRejection::TooManyRedirects, "more than 3 times"),
        ] {
            assert!(rejection.to_string().contains(expected), "{rejection}");
        }
    }

    #[test]
    fn the_advice_mentions_the_setting_only_if_it_helps() {
        for (guard, url, expected) in [
            (development(), "http://169.254.169.254/", UrlRejection::PrivateAddress(NonPublic::CloudMetadata)),
            (development(), "ftp://127.0.0.1/a.mp4", UrlRejection::UnsupportedScheme),
            (any_host(), "ftp://example.com/a.mp4", UrlRejection::UnsupportedScheme),
        ] {
            let rejection = guard.admit(url).expect_err(url);
            assert_eq!(rejection, expected);
            assert!(!rejection.to_string().contains("DOWNLOAD_ALLOW_PRIVATE"), "{rejection}");
        }
    }
}
