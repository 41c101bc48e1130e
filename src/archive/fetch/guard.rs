//! Decides which URLs the downloader may fetch: the pure half of the guard.
//!
//! A caller gets a [`Guard`], built once from the settings, and asks it four things: may this text be fetched
//! ([`Guard::admit`]), may this URL ([`Guard::judge_url`]), may this address be dialled ([`Guard::judge_address`]),
//! may this redirect be followed ([`Guard::follow`]). The answer is yes, or a [`UrlRejection`] that says why and what to
//! do.
//!
//! Guaranteed:
//! - What passes is https, has no user or password, is on a host under one of the allowed suffixes where there are
//!   any, and is not at an IP address that is not public. `DOWNLOAD_ALLOW_PRIVATE` lets http and private networks in;
//!   it loosens nothing else.
//! - A redirect passes what the first URL has to pass, and there are at most [`MAX_REDIRECTS`].
//! - A refusal is final: asked again with the same settings, the guard says the same. It is therefore no reason to
//!   try again, only to change a setting.
//! - No refusal holds any part of the URL, whose query is a credential.
//!
//! Names are judged here by their spelling alone. What they resolve to is judged where they are resolved, by
//! [`GuardedResolver`](super::resolve::GuardedResolver): whoever looks a name up here and dials it later dials
//! another address if the name's owner wants it so. The other way round, an HTTP client never asks a resolver about
//! an address that stands in the URL itself, so those have to be judged here. It takes both halves, with the client's
//! own redirects, proxies and DNS overrides switched off.
//!
//! Hosts are compared as [`url`] has normalised them (lower case, IDNA to punycode, percent-decoding; `0x7f.1` and
//! `2130706433` become `127.0.0.1`), so what is judged is what is dialled, not what was written.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

use super::address::{self, NonPublic};

/// How many redirects one download may follow. Object stores and CDNs need one; the second and third are for a host
/// that is being moved.
pub const MAX_REDIRECTS: usize = 3;

/// The rules for URLs and addresses, as set by `DOWNLOAD_ALLOWED_HOSTS` and `DOWNLOAD_ALLOW_PRIVATE`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Empty: any host.
    allowed_hosts: Arc<[HostSuffix]>,
    allow_private: bool,
}

impl Guard {
    /// A guard that lets in hosts under `allowed_hosts` (empty: any host), and http and private networks if
    /// `allow_private`.
    #[must_use]
    pub fn new(allowed_hosts: Vec<HostSuffix>, allow_private: bool) -> Self {
        Self { allowed_hosts: allowed_hosts.into(), allow_private }
    }

    /// Parses a URL as it came from outside, and judges it.
    pub fn admit(&self, text: &str) -> Result<Url, UrlRejection> {
        let url = Url::parse(text).map_err(|_| UrlRejection::InvalidUrl)?;
        self.judge_url(&url)?;
        Ok(url)
    }

    /// Judges a URL by all that can be known without asking the network.
    pub fn judge_url(&self, url: &Url) -> Result<(), UrlRejection> {
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
            Some(Host::Domain(name)) => self.judge_name(name),
            Some(Host::Ipv4(ip)) => self.judge_literal(ip.into()),
            Some(Host::Ipv6(ip)) => self.judge_literal(ip.into()),
            // Not to be had from `Url::parse`, which gives every http and https URL a host.
            None => Err(UrlRejection::InvalidUrl),
        }
    }

    /// Judges an address that is about to be dialled, from a URL or from DNS.
    pub fn judge_address(&self, ip: IpAddr) -> Result<(), UrlRejection> {
        match address::judge(ip) {
            Err(kind) if self.allow_private && kind.is_private_network() => Ok(()),
            judgement => judgement.map_err(UrlRejection::PrivateAddress),
        }
    }

    /// Judges one redirect, and gives the URL to ask next.
    ///
    /// `from` is the URL that answered, `location` the value of its `Location` header as it came (empty if there is
    /// none), and `hops_so_far` the number of redirects already followed for this download, so 0 for the first. A
    /// relative location is joined to `from`. The URL has no fragment: it is never sent, and the rule that a redirect
    /// inherits one (RFC 9110, section 10.2.2) is for browsers.
    pub fn follow(&self, from: &Url, location: &[u8], hops_so_far: usize) -> Result<Url, UrlRejection> {
        if hops_so_far >= MAX_REDIRECTS {
            return Err(UrlRejection::TooManyRedirects);
        }
        let location = str::from_utf8(location.trim_ascii()).map_err(|_| UrlRejection::InvalidRedirect)?;
        // RFC 3986 reads an empty reference as the same document: a loop, told as what it is at its first turn.
        if location.is_empty() {
            return Err(UrlRejection::InvalidRedirect);
        }
        let mut next = from.join(location).map_err(|_| UrlRejection::InvalidRedirect)?;
        next.set_fragment(None);
        self.judge_url(&next)?;
        Ok(next)
    }

    fn judge_name(&self, name: &str) -> Result<(), UrlRejection> {
        if self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(|suffix| suffix.matches(name)) {
            Ok(())
        } else {
            Err(UrlRejection::HostNotAllowed)
        }
    }

    /// The address comes first: of two reasons, the one that no list of hosts can mend.
    fn judge_literal(&self, ip: IpAddr) -> Result<(), UrlRejection> {
        self.judge_address(ip)?;
        if self.allowed_hosts.is_empty() { Ok(()) } else { Err(UrlRejection::HostNotAllowed) }
    }
}

/// Why a URL is not fetched.
///
/// [`code`](Self::code) is for programs and stays the same; `Display` is for people and says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UrlRejection {
    /// The text is not an absolute URL with a host.
    #[error("the download's URL cannot be read: it is not an absolute URL with a host")]
    InvalidUrl,
    /// The scheme is `http`.
    #[error(
        "the URL is not https, and files are fetched over https only: DOWNLOAD_ALLOW_PRIVATE=true allows http, in development"
    )]
    NotHttps,
    /// The scheme is neither `https` nor `http`.
    #[error("the URL is not https, and files are fetched over https only: ask for an https URL")]
    UnsupportedScheme,
    /// A user or a password stands before the host, where it serves to hide which host it is, or to leak into logs.
    #[error(
        "the URL has a user name or password before its host, and such URLs are not fetched: ask whoever made it for one without"
    )]
    Userinfo,
    /// The host is under none of the allowed suffixes.
    #[error(
        "the URL's host is under none of DOWNLOAD_ALLOWED_HOSTS: add it there if it is to be trusted, then retry the download"
    )]
    HostNotAllowed,
    /// The URL's address, or one of the addresses that its host resolves to, is not public.
    #[error("the URL leads to {0}, and files are fetched from public addresses only{advice}", advice = private_advice(*.0))]
    PrivateAddress(NonPublic),
    /// There was one redirect more than [`MAX_REDIRECTS`].
    #[error(
        "the origin redirected more than {MAX_REDIRECTS} times: ask whoever runs it for a URL that is nearer to the file"
    )]
    TooManyRedirects,
    /// A redirect whose `Location` is missing or is no URL.
    #[error("the origin redirected without a `Location` that can be read: ask whoever runs it")]
    InvalidRedirect,
}

impl UrlRejection {
    /// The word that stands for this refusal on a download's row, in metrics and in answers. Part of the contract:
    /// never changed.
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

/// Names the setting only where it helps.
fn private_advice(kind: NonPublic) -> &'static str {
    if kind.is_private_network() { ": DOWNLOAD_ALLOW_PRIVATE=true allows this one, in development" } else { "" }
}

/// One entry of `DOWNLOAD_ALLOWED_HOSTS`: a domain that is allowed together with all names under it.
///
/// Read from `magichour.ai` or `.magichour.ai`, which mean the same: `magichour.ai` and `videos.magichour.ai` match,
/// `evilmagichour.ai` does not. Letter case and one trailing dot make no difference; a name with other letters is
/// read as its punycode. It is never an address: `0.0.1` is no suffix of `127.0.0.1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostSuffix(
    /// As [`url`] writes hosts: lower case, punycode. No dot at either end.
    String,
);

impl HostSuffix {
    /// `name` as [`url`] writes it.
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
        // By what people write into such settings elsewhere, so that each gets its own sentence; what else is wrong,
        // `url` finds.
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
                // `url` is more generous than DNS: it reads `a;b` and `a,b` as names too, which are lists with a
                // wrong separator.
                if name.split('.').all(is_label) { Ok(Self(name.to_owned())) } else { Err(InvalidHostSuffix::NotAHost) }
            }
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(InvalidHostSuffix::Address),
            Err(_) => Err(InvalidHostSuffix::NotAHost),
        }
    }
}

/// Letters, digits, hyphens, and the underscore that buckets' names have.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Why an entry of `DOWNLOAD_ALLOWED_HOSTS` is not a host suffix. `Display` says what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostSuffix {
    /// Nothing is there: a comma too many.
    #[error("an entry is empty: take the extra comma out (no entries at all allow any public host)")]
    Empty,
    /// White space, also at an end.
    #[error("a host suffix has no spaces in it: separate entries with commas alone, like `magichour.ai,example.com`")]
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
    /// Anything else that is not a name.
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

    /// Holds the refusal's code (or `ok`) of every URL of a table against the expected one, and tells all that differ
    /// at once.
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

    #[test]
    fn only_https_with_a_host_and_without_userinfo_passes() {
        assert_admits(
            &any_host(),
            &[
                ("https://videos.magichour.ai/id/output.mp4?X-Goog-Signature=abc", "ok"),
                ("HTTPS://VIDEOS.MAGICHOUR.AI/id/output.mp4", "ok"),
                ("https://example.com", "ok"),
                ("https://example.com:8443/a.mp4", "ok"),
                ("https://example.com:443/a.mp4", "ok"),
                // Sloppy, but a browser reads it so, and what is judged is what it is read as.
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
            ],
        );
    }

    #[test]
    fn an_address_in_a_url_is_judged_however_it_is_written() {
        assert_admits(
            &any_host(),
            &[
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
                // A name, whatever it resolves to: the resolver's to judge.
                ("https://localhost/", "ok"),
                ("https://127.0.0.1.example.com/", "ok"),
            ],
        );
    }

    #[test]
    fn a_host_passes_under_an_allowed_suffix_at_a_label_boundary() {
        assert_admits(
            &listed(),
            &[
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
            ],
        );
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
    fn development_keeps_the_list_of_hosts() {
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
    fn a_redirect_is_joined_to_where_it_came_from_and_loses_its_fragment() {
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
    fn a_redirect_passes_only_what_a_first_url_may_be() {
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
            let refusal = guard.follow(&from, location.as_bytes(), 0).expect_err(location);
            assert_eq!(refusal.code(), expected, "{location}");
        }
        assert_eq!(guard.follow(&from, b"/\xff", 0), Err(UrlRejection::InvalidRedirect));
    }

    #[test]
    fn a_redirect_to_plain_http_is_for_development_only() {
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
    fn a_host_suffix_is_read_into_one_form() {
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
    fn what_is_not_a_host_suffix_is_told_by_what_it_is() {
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
    fn a_refusal_says_what_to_do() {
        for (refusal, expected) in [
            (UrlRejection::NotHttps, "DOWNLOAD_ALLOW_PRIVATE"),
            (UrlRejection::HostNotAllowed, "DOWNLOAD_ALLOWED_HOSTS"),
            (UrlRejection::PrivateAddress(NonPublic::Loopback), "a loopback address"),
            (UrlRejection::PrivateAddress(NonPublic::Loopback), "DOWNLOAD_ALLOW_PRIVATE"),
            (UrlRejection::TooManyRedirects, "more than 3 times"),
        ] {
            assert!(refusal.to_string().contains(expected), "{refusal}");
        }
    }

    #[test]
    fn the_advice_names_the_setting_only_where_it_would_help() {
        for (guard, url, expected) in [
            (development(), "http://169.254.169.254/", UrlRejection::PrivateAddress(NonPublic::CloudMetadata)),
            (development(), "ftp://127.0.0.1/a.mp4", UrlRejection::UnsupportedScheme),
            (any_host(), "ftp://example.com/a.mp4", UrlRejection::UnsupportedScheme),
        ] {
            let refusal = guard.admit(url).expect_err(url);
            assert_eq!(refusal, expected);
            assert!(!refusal.to_string().contains("DOWNLOAD_ALLOW_PRIVATE"), "{refusal}");
        }
    }
}
