//! The cookies, which differ with the transport.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use super::secret::BrowserSecret;

/// The cookie with the secret of a session.
pub(in crate::ui) const SESSION: &str = "renderhook_session";
/// The cookie with the secret of a visitor without a session, for the form to log in.
pub(super) const FORM: &str = "renderhook_form";

/// How the browser reaches the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) enum Transport {
    /// Over TLS, which a proxy ends.
    Tls,
    /// Over plain HTTP: on this machine or in a private network.
    Plain,
}

impl Transport {
    /// The proxy that ends TLS says so in `X-Forwarded-Proto`. A browser that forges the header gets cookies that it does not send back.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let protocol = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let nearest = protocol.rsplit(',').next().unwrap_or_default().trim();
        if nearest.eq_ignore_ascii_case("https") { Self::Tls } else { Self::Plain }
    }

    /// Over TLS, the prefix keeps other hosts of the same domain from setting the cookie.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Tls => "__Host-",
            Self::Plain => "",
        }
    }

    /// The secret in a cookie of the request.
    pub(super) fn secret(self, headers: &HeaderMap, name: &str) -> Option<BrowserSecret> {
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find_map(|(key, value)| {
            let is_it = key.strip_prefix(self.prefix()).is_some_and(|key| key == name);
            is_it.then(|| BrowserSecret::parse(value)).flatten()
        })
    }

    /// `Set-Cookie` for a secret. The browser forgets it after `max_age` seconds.
    pub(in crate::ui) fn cookie(self, name: &str, secret: &BrowserSecret, max_age: i64) -> HeaderValue {
        self.set_cookie(name, &secret.text(), max_age)
    }

    fn set_cookie(self, name: &str, value: &str, max_age: i64) -> HeaderValue {
        let place = match self {
            Self::Tls => "Path=/; Secure",
            Self::Plain => "Path=/ui",
        };
        let cookie = format!("{}{name}={value}; {place}; HttpOnly; SameSite=Strict; Max-Age={max_age}", self.prefix());
        HeaderValue::try_from(cookie).expect("base64 and constants are visible ASCII")
    }
}

/// `Set-Cookie` that makes the browser forget a cookie.
pub(in crate::ui) fn cleared(transport: Transport, name: &str) -> HeaderValue {
    transport.set_cookie(name, "", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_proxy_says_whether_there_is_tls() {
        for (protocol, transport) in [
            (None, Transport::Plain),
            (Some("http"), Transport::Plain),
            (Some("https"), Transport::Tls),
            (Some("HTTPS"), Transport::Tls),
            (Some("https, http"), Transport::Plain),
            (Some("http, https"), Transport::Tls),
        ] {
            let headers = protocol.map(|it| ("x-forwarded-proto".parse().unwrap(), it.parse().unwrap()));
            assert_eq!(Transport::of(&HeaderMap::from_iter(headers)), transport, "{protocol:?}");
        }
    }

    #[test]
    fn over_tls_only_the_cookie_with_the_prefix_counts() {
        let secret = BrowserSecret::random();
        for (transport, attributes) in [
            (Transport::Tls, "Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=9"),
            (Transport::Plain, "Path=/ui; HttpOnly; SameSite=Strict; Max-Age=9"),
        ] {
            let cookie = transport.cookie(SESSION, &secret, 9);
            let (pair, rest) = cookie.to_str().unwrap().split_once("; ").unwrap();
            assert_eq!(rest, attributes);
            let headers = HeaderMap::from_iter([(COOKIE, format!("a=b; {pair}; c=d").parse().unwrap())]);
            let found = [Transport::Tls, Transport::Plain].map(|it| it.secret(&headers, SESSION).is_some());
            assert_eq!(found, [transport == Transport::Tls, transport == Transport::Plain]);
            assert!(transport.secret(&headers, FORM).is_none());
        }
    }
}
