//! The key of an object in the store: `{kind}/{render id}/{index}-{file name}`.
//!
//! The key depends on nothing but these four values, so downloading a file twice writes the same object. Every part is
//! valid on any file system and in any bucket. Special characters are escaped, never replaced, so different inputs give
//! different keys, even on case-insensitive file systems such as those of macOS and Windows.

use std::fmt;

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use url::Url;

use crate::domain::render::{Kind, RenderId};

/// The maximum length of one key segment, in bytes. Common file systems allow names of 255 bytes; the rest is left for
/// the suffix of a file that is still being written.
const MAX_SEGMENT_BYTES: usize = 160;

/// The length, in hex digits, of the hash that is appended to an id with uppercase letters.
const CASE_HASH_DIGITS: usize = 16;

/// The key of an object, relative to `STORAGE_URL`. Contains only ASCII letters, digits, `.`, `_`, `-`, `=`, and `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// The key for the file at `url`, which is entry `index` in the downloads of render `id`.
    #[must_use]
    pub fn new(kind: Kind, id: &RenderId, index: i32, url: Option<&Url>) -> Self {
        let name = url.map(file_name).unwrap_or_default();
        let id = escape_id(id.as_str().as_bytes());
        // The index and its dash count toward the length of the segment.
        let index = format!("{index}-");
        let name = escape(&name, MAX_SEGMENT_BYTES - index.len());
        Self(format!("{kind}/{id}/{index}{name}"))
    }

    /// A key read from the database.
    #[must_use]
    pub(crate) fn from_row(key: String) -> Self {
        Self(key)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment of the key.
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

/// The last segment of the URL's path, percent-decoded: the name of the file.
fn file_name(url: &Url) -> Vec<u8> {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    percent_decode_str(last).collect()
}

/// Escapes an id as one path segment that stays unique when case is ignored. If the id has uppercase letters, `==` and the
/// start of its SHA-256 are appended. (Escapes use lowercase hex digits.)
///
/// File names need no such hash, because the index makes them unique within a render.
fn escape_id(id: &[u8]) -> String {
    if !id.iter().any(u8::is_ascii_uppercase) {
        return escape(id, MAX_SEGMENT_BYTES);
    }
    let part = escape(id, MAX_SEGMENT_BYTES - CASE_HASH_DIGITS - 2);
    let hash = hex::encode(Sha256::digest(id));
    format!("{part}=={}", &hash[..CASE_HASH_DIGITS])
}

/// Escapes `bytes` as one path segment: everything but ASCII letters, digits, `.`, `_`, and `-` becomes `=` and two hex
/// digits. Names that consist of dots are fully escaped, because they would name a folder. A result longer than `max` is
/// cut and ends in `==` and its SHA-256. No escape contains `==`, so no other input gives the same segment.
fn escape(bytes: &[u8], max: usize) -> String {
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
    fn a_plain_name_is_kept_and_the_query_is_ignored() {
        let url = "https://videos.magichour.ai/id/output.mp4?X-Goog-Signature=abc";
        assert_eq!(key("clx123", 0, url), "video/clx123/0-output.mp4");
    }

    #[test]
    fn hostile_names_cannot_leave_their_segment() {
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
    fn ids_that_differ_only_in_case_have_different_keys_when_case_is_ignored() {
        let folded = |id: &str| key(id, 0, "https://h/a.mp4").to_lowercase();
        let long = "x".repeat(200);
        for (one, other) in [("clx", "CLX"), ("aB", "Ab"), ("a/b", "A/b"), (&format!("{long}y"), &format!("{long}Y"))] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
            assert!(key(other, 0, "not a url").split('/').all(|part| part.len() <= MAX_SEGMENT_BYTES));
        }
        assert_eq!(key("clX", 0, "https://h/A.mp4"), "video/clX==20b7ba9a71867217/0-A.mp4");
    }

    #[test]
    fn long_names_are_cut_and_stay_unique() {
        let long = |tail: &str| key("id", 0, &format!("https://h/{}{tail}.mp4", "x".repeat(500)));
        assert_ne!(long("a"), long("b"));
        for part in long("a").split('/') {
            assert!(part.len() <= MAX_SEGMENT_BYTES, "{part}");
        }
    }

    proptest! {
        #[test]
        fn different_ids_give_different_keys_when_case_is_ignored(ids in prop::collection::vec("[aAbB=/]{1,4}", 2..40)) {
            let mut seen = HashMap::new();
            for id in ids {
                let made = escape_id(id.as_bytes());
                prop_assert!(made.len() <= MAX_SEGMENT_BYTES);
                if let Some(other) = seen.insert(made.to_lowercase(), id.clone()) {
                    prop_assert_eq!(other, id, "both give {}", made);
                }
            }
        }

        #[test]
        fn different_bytes_give_different_valid_segments(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 2..40)) {
            let mut seen = HashMap::new();
            for part in parts {
                let made = escape(&part, MAX_SEGMENT_BYTES);
                prop_assert!(made.len() <= MAX_SEGMENT_BYTES);
                prop_assert!(made.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-=".contains(&b)));
                prop_assert!(made != "." && made != "..");
                if let Some(other) = seen.insert(made.clone(), part.clone()) {
                    prop_assert_eq!(other, part, "both give {}", made);
                }
            }
        }
    }
}
