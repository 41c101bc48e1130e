//! Where an object is in the store: `{kind}/{render id}/{index}-{file name}`.
//!
//! The key depends on nothing but these four, so that downloading a file twice writes the same object. Every part is
//! made safe for any file system and any bucket, and distinct inputs give distinct keys, also where upper and lower
//! case are the same, as on the disks of macOS and Windows: special characters are escaped, never replaced.

use std::fmt;

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use url::Url;

use crate::domain::render::{Kind, RenderId};

/// The longest part of a key, in bytes: below what every common file system takes as a name (255), with room for
/// the suffix of a file that is still being written.
const MAX_PART: usize = 160;

/// The length of the hash that marks an id with upper-case letters, in hex digits.
const CASE_DIGITS: usize = 16;

/// An object's place, relative to `STORAGE_URL`: ASCII letters, digits, `.`, `_`, `-`, `=` and three separators.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// The key of the file at `url`, the `index`th of the downloads of render `id`.
    #[must_use]
    pub fn new(kind: Kind, id: &RenderId, index: i32, url: Option<&Url>) -> Self {
        let name = url.map(file_name).unwrap_or_default();
        let id = distinct_without_case(id.as_str().as_bytes());
        // The index is part of the name's own bound: its digits and the dash come off it.
        let index = format!("{index}-");
        let name = safe(&name, MAX_PART - index.len());
        Self(format!("{kind}/{id}/{index}{name}"))
    }

    /// A key as the database holds it.
    #[must_use]
    pub(crate) fn from_row(key: String) -> Self {
        Self(key)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file's own part of the key.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The last segment of the URL's path, with its percent escapes undone: what the file is called.
fn file_name(url: &Url) -> Vec<u8> {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    percent_decode_str(last).collect()
}

/// An id as one path segment that differs from all others also where case does not count. An id with upper-case letters
/// gets `==` and the start of its SHA-256 for that; the escapes are in lower case.
///
/// File names need no such mark: the index sets those of one render apart.
fn distinct_without_case(id: &[u8]) -> String {
    if !id.iter().any(u8::is_ascii_uppercase) {
        return safe(id, MAX_PART);
    }
    let part = safe(id, MAX_PART - CASE_DIGITS - 2);
    let hash = hex::encode(Sha256::digest(id));
    format!("{part}=={}", &hash[..CASE_DIGITS])
}

/// `bytes` as one path segment: everything but ASCII letters, digits, `.`, `_` and `-` becomes `=` and two hex
/// digits. Names of dots only are escaped whole, since they would name a folder. What is longer than `max` is cut
/// and closed with `==` and its SHA-256: no escape reads `==`, so that no other input gives the same part.
fn safe(bytes: &[u8], max: usize) -> String {
    let dots_only = bytes.iter().all(|&byte| byte == b'.');
    let mut part = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'.' if dots_only => part.push_str("=2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => part.push(char::from(byte)),
            _ => part.extend(["=", &hex::encode([byte])]),
        }
    }
    if part.len() <= max {
        return part;
    }
    let close = format!("=={}", hex::encode(Sha256::digest(bytes)));
    part.truncate(max - close.len());
    part + &close
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(id: &str, index: i32, url: &str) -> String {
        ObjectKey::new(Kind::Video, &id.parse().unwrap(), index, Url::parse(url).ok().as_ref()).to_string()
    }

    #[test]
    fn a_plain_name_stays_as_it_is_and_the_query_plays_no_part() {
        let url = "https://videos.magichour.ai/id/output.mp4?X-Goog-Signature=abc";
        assert_eq!(key("clx123", 0, url), "video/clx123/0-output.mp4");
    }

    #[test]
    fn hostile_names_stay_inside_their_segment() {
        let table = [
            ("..", 0, "https://h/..%2f..%2fetc%2fpasswd", "video/=2e=2e/0-..=2f..=2fetc=2fpasswd"),
            (".", 1, "https://h/", "video/=2e/1-"),
            ("a/b", 2, "https://h/%2e%2e", "video/a=2fb/2-"),
            ("a\\b", 3, "https://h/a%00b.mp4", "video/a=5cb/3-a=00b.mp4"),
            ("id", 4, "https://h/my%20video=1.mp4", "video/id/4-my=20video=3d1.mp4"),
            ("id", 5, "https://h/%D0%BA.mp4", "video/id/5-=d0=ba.mp4"),
            ("id", 6, "not a url", "video/id/6-"),
            ("id", 7, "https://h/%ff%fe", "video/id/7-=ff=fe"),
        ];
        for (id, index, url, expected) in table {
            assert_eq!(key(id, index, url), expected);
        }
    }

    #[test]
    fn ids_that_differ_only_in_case_have_keys_that_differ_without_case() {
        let folded = |id: &str| key(id, 0, "https://h/a.mp4").to_lowercase();
        let long = "x".repeat(200);
        for (one, other) in [("clx", "CLX"), ("aB", "Ab"), ("a/b", "A/b"), (&format!("{long}y"), &format!("{long}Y"))] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
            assert!(key(other, 0, "not a url").split('/').all(|part| part.len() <= MAX_PART));
        }
        assert_eq!(key("clX", 0, "https://h/A.mp4"), "video/clX==20b7ba9a71867217/0-A.mp4");
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let long = |tail: &str| key("id", 0, &format!("https://h/{}{tail}.mp4", "x".repeat(500)));
        assert_ne!(long("a"), long("b"));
        for part in long("a").split('/') {
            assert!(part.len() <= MAX_PART, "{part}");
        }
    }

    proptest! {
        #[test]
        fn distinct_ids_stay_distinct_without_case(ids in prop::collection::vec("[aAbB=/]{1,4}", 2..40)) {
            let mut seen = HashMap::new();
            for id in ids {
                let made = distinct_without_case(id.as_bytes());
                prop_assert!(made.len() <= MAX_PART);
                if let Some(other) = seen.insert(made.to_lowercase(), id.clone()) {
                    prop_assert_eq!(other, id, "both give {}", made);
                }
            }
        }

        #[test]
        fn distinct_parts_stay_distinct_and_safe(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 2..40)) {
            let mut seen = HashMap::new();
            for part in parts {
                let made = safe(&part, MAX_PART);
                prop_assert!(made.len() <= MAX_PART);
                prop_assert!(made.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-=".contains(&b)));
                prop_assert!(made != "." && made != "..");
                if let Some(other) = seen.insert(made.clone(), part.clone()) {
                    prop_assert_eq!(other, part, "both give {}", made);
                }
            }
        }
    }
}
