//! Removes secrets from URLs before they are shown.

use url::Url;

/// `url` without its user, password, query, and fragment, which may be secret.
#[must_use]
pub fn without_credentials(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // OK to ignore: this fails if the URL cannot have a user, so there is none.
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_port_and_path_are_shown() {
        for (url, shown) in [
            ("s3://key:hush@bucket/prefix?token=hush#hush", "s3://bucket/prefix"),
            ("https://hush@h:8443/v1?hush", "https://h:8443/v1"),
            ("file:///dir", "file:///dir"),
            ("mailto:someone@h?subject=hush", "mailto:someone@h"),
        ] {
            assert_eq!(without_credentials(&Url::parse(url).unwrap()).as_str(), shown);
        }
    }
}
