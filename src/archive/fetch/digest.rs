//! Hashes of a file, computed during the transfer and compared with those announced by the server.
//!
//! [`AnnouncedHashes`] reads `x-goog-hash` (Google Cloud Storage), `Repr-Digest` (RFC 9530), and an `ETag` where it is known to
//! be an MD5. [`Hashes`] computes SHA-256, MD5, and CRC32C of the same bytes. Its state can be saved and restored, so that an
//! interrupted transfer still ends with the hash of the whole file.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use reqwest::header::{ETAG, HeaderMap};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

/// The hashes that a server announces for a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnouncedHashes {
    crc32c: Option<u32>,
    md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
}

impl AnnouncedHashes {
    /// Reads the headers of an answer. Malformed hashes are ignored.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut announced = Self::default();
        let texts = |name: &str| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        // The hash covers the stored bytes, which differ from the received ones if the object is stored compressed.
        let is_plain = texts("x-goog-stored-content-encoding").all(|encoding| encoding.trim() == "identity");
        for part in texts("x-goog-hash").filter(|_| is_plain).flat_map(|list| list.split(',')) {
            match part.trim().split_once('=') {
                Some(("crc32c", text)) => announced.crc32c = decode(text).map(u32::from_be_bytes),
                Some(("md5", text)) => announced.md5 = decode(text),
                _ => {}
            }
        }
        for part in texts("repr-digest").flat_map(|list| list.split(',')) {
            if let Some(("sha-256", text)) = part.trim().split_once('=') {
                let inner = text.trim().strip_prefix(':').and_then(|text| text.split(':').next());
                announced.sha256 = inner.and_then(decode);
            }
        }
        announced.md5 = announced.md5.or_else(|| md5_etag(headers));
        announced
    }

    /// Whether the server announced no hash.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares the announced hashes with those of the received bytes.
    pub fn compare(&self, hashes: &Hashes) -> Result<(), Mismatch> {
        let differ = |algorithm, announced: &[u8], received: &[u8]| {
            if announced == received {
                return Ok(());
            }
            Err(Mismatch { algorithm, announced: hex::encode(announced), received: hex::encode(received) })
        };
        if let Some(announced) = self.sha256 {
            differ("sha-256", &announced, &hashes.sha256.clone().finalize())?;
        }
        // The MD5 was not computed if it was only announced by a later answer.
        if let Some(announced) = self.md5.filter(|_| hashes.with_md5) {
            differ("md5", &announced, &hashes.md5.clone().finalize())?;
        }
        if let Some(announced) = self.crc32c {
            differ("crc32c", &announced.to_be_bytes(), &hashes.crc32c.to_be_bytes())?;
        }
        Ok(())
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_STANDARD.decode(text.trim()).ok()?.try_into().ok()
}

/// An `ETag` is opaque. Only S3 documents it as the MD5, and only for objects that were uploaded in one part and
/// are not encrypted with a separate key.
fn md5_etag(headers: &HeaderMap) -> Option<[u8; 16]> {
    let plain = match headers.get("x-amz-server-side-encryption") {
        None => true,
        Some(encryption) => encryption == "AES256",
    };
    if !plain
        || !headers.contains_key("x-amz-request-id")
        || headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
    {
        return None;
    }
    let tag = headers.get(ETAG)?.to_str().ok()?.strip_prefix('"')?.strip_suffix('"')?;
    hex::decode(tag).ok()?.try_into().ok()
}

/// A hash differs from the announced one, so some bytes are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server announced {algorithm} {announced}, the received bytes have {received}")]
pub struct Mismatch {
    algorithm: &'static str,
    announced: String,
    received: String,
}

/// The hashes of the bytes received so far.
#[derive(Clone)]
pub struct Hashes {
    sha256: Sha256,
    md5: Md5,
    crc32c: u32,
    /// MD5 costs as much as the other two together, so it is computed only if it is announced.
    with_md5: bool,
}

impl std::fmt::Debug for Hashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashes")
    }
}

impl Hashes {
    /// Starts without any bytes, for comparison with `announced`.
    #[must_use]
    pub fn new(announced: &AnnouncedHashes) -> Self {
        Self { sha256: Sha256::new(), md5: Md5::new(), crc32c: 0, with_md5: announced.md5.is_some() }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if self.with_md5 {
            self.md5.update(bytes);
        }
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
    }

    /// The SHA-256 in lowercase hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex::encode(self.sha256.clone().finalize())
    }

    /// Serializes the state. Only the same version of renderhook can restore it, because the libraries define the format.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut saved = VERSION.as_bytes().to_vec();
        saved.push(0);
        saved.push(u8::from(self.with_md5));
        saved.extend(self.crc32c.to_be_bytes());
        saved.extend(self.md5.serialize());
        saved.extend(self.sha256.serialize());
        saved
    }

    /// Continues from a saved state; `None` if another version saved it.
    #[must_use]
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let rest = saved.strip_prefix(VERSION.as_bytes())?.strip_prefix(&[0])?;
        let (&with_md5, rest) = rest.split_first()?;
        let (crc32c, rest) = rest.split_first_chunk()?;
        let (md5, sha256) = rest.split_at_checked(size_of::<SerializedState<Md5>>())?;
        Some(Self {
            sha256: Sha256::deserialize(sha256.try_into().ok()?).ok()?,
            md5: Md5::deserialize(md5.try_into().ok()?).ok()?,
            crc32c: u32::from_be_bytes(*crc32c),
            with_md5: with_md5 == 1,
        })
    }
}

/// What a saved state is marked with.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"hello world";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn compared(list: &[(&'static str, &str)], body: &[u8]) -> Result<(), Mismatch> {
        let announced = AnnouncedHashes::of(&headers(list));
        assert!(!announced.is_empty(), "{list:?}");
        let mut hashes = Hashes::new(&announced);
        hashes.update(body);
        announced.compare(&hashes)
    }

    // Of "hello world", by other tools.
    const MD5: &str = "XrY7u+Ae7tCTyyK7j1rNww==";
    const CRC32C: &str = "yZRlqg==";
    const SHA256: &str = "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=";

    #[test]
    fn every_announced_hash_is_compared() {
        let goog = format!("crc32c={CRC32C},md5={MD5}");
        let digest = format!("sha-256=:{SHA256}:");
        let etag = [("x-amz-request-id", "1"), ("etag", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"")];
        let split = [("x-goog-hash", &format!("crc32c={CRC32C}")[..]), ("x-goog-hash", &format!("md5={MD5}")[..])];
        for list in [&[("x-goog-hash", goog.as_str())][..], &[("repr-digest", digest.as_str())], &etag, &split] {
            assert_eq!(compared(list, BODY), Ok(()), "{list:?}");
            let mismatch = compared(list, b"hello worlD").unwrap_err().to_string();
            assert!(mismatch.starts_with("the server announced "), "{mismatch}");
        }
    }

    #[test]
    fn the_hash_of_an_object_that_is_stored_compressed_is_not_compared() {
        let hash = format!("crc32c={CRC32C},md5={MD5}");
        let announced = |encoding| {
            AnnouncedHashes::of(&headers(&[
                ("x-goog-hash", hash.as_str()),
                ("x-goog-stored-content-encoding", encoding),
            ]))
        };
        assert!(announced("gzip").is_empty());
        assert!(!announced("identity").is_empty());
    }

    #[test]
    fn an_etag_counts_only_where_it_is_known_to_be_an_md5() {
        let etag = ("etag", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"");
        for list in [
            &[etag][..],
            &[("x-amz-request-id", "1"), ("etag", "\"5eb63bbbe01eeed093cb22bb8f5acdc3-2\"")],
            &[("x-amz-request-id", "1"), ("etag", "W/\"5eb63bbbe01eeed093cb22bb8f5acdc3\"")],
            &[("x-amz-request-id", "1"), etag, ("x-amz-server-side-encryption", "aws:kms")],
            &[("x-goog-hash", "md5=nonsense,sha1=AAAA")],
            &[("repr-digest", "sha-512=:AAAA:, sha-256=AAAA")],
        ] {
            assert!(AnnouncedHashes::of(&headers(list)).is_empty(), "{list:?}");
        }
    }

    #[test]
    fn hashing_continues_from_a_saved_state() {
        let announced = AnnouncedHashes::of(&headers(&[("x-goog-hash", &format!("crc32c={CRC32C},md5={MD5}"))]));
        let mut first = Hashes::new(&announced);
        first.update(b"hello ");
        let mut second = Hashes::restore(&first.save()).unwrap();
        second.update(b"world");
        assert_eq!(announced.compare(&second), Ok(()));
        assert_eq!(second.sha256(), "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
        let mut other = first.save();
        other[0] ^= 1;
        assert!(Hashes::restore(&other).is_none());
        assert!(Hashes::restore(&first.save()[..40]).is_none());
    }
}
