//! JSON as it may come, read piece by piece.
//!
//! A whole-document parse would refuse what RFC 8259 allows and Rust or Postgres do not hold (lone surrogates,
//! numbers beyond every type, U+0000), so that one odd field would cost the event. Here a document is split into raw
//! pieces, and each is read as what it should be or not at all.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

/// The pieces of an object by name; the last of a repeated name counts.
pub(super) type Object<'a> = HashMap<String, &'a RawValue>;

/// `body` as text that a strict parser takes: bytes that are no UTF-8, and escapes of half a surrogate pair, become
/// U+FFFD.
pub(super) fn mend(body: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(body) {
        text if !text.contains("\\u") => text,
        text => Cow::Owned(mend_surrogates(&text)),
    }
}

fn mend_surrogates(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (code_unit(rest), code_unit(rest.get(6..).unwrap_or_default())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // Another escape: the backslash and the character that it escapes, so that `\\u` is not taken for one.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    mended + rest
}

/// The UTF-16 code unit that a `\uXXXX` at the start of `text` stands for.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

/// The pieces of an object, or `None` for anything else.
pub(super) fn object(text: &str) -> Option<Object<'_>> {
    serde_json::from_str(text).ok()
}

/// The pieces of a list, or `None` for anything else.
pub(super) fn list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// A string. U+0000, which Postgres cannot hold, becomes U+FFFD: the raw body keeps what was sent.
pub(super) fn text(raw: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(raw.get()).ok()?;
    Some(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text })
}

/// Whether it is `null`.
pub(super) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(string: &str) -> Option<String> {
        let mended = mend(string.as_bytes()).into_owned();
        text(&RawValue::from_string(mended).ok()?)
    }

    #[test]
    fn lone_surrogates_are_mended_and_everything_else_is_left() {
        let table = [
            (r#""plain""#, "plain"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\ude00b""#, "a\u{fffd}b"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud83dA""#, "\u{fffd}A"),
            (r#""\uD83D\\uDE00""#, "\u{fffd}\\uDE00"),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\\\ud83d""#, "\\\u{fffd}"),
            (r#""\"\n\u0041""#, "\"\nA"),
            (r#""a\u0000b""#, "a\u{fffd}b"),
        ];
        for (string, expected) in table {
            assert_eq!(read(string).as_deref(), Some(expected), "{string}");
        }
    }

    #[test]
    fn broken_escapes_stay_broken() {
        for string in [r#""\u12""#, r#""\uzzzz""#, r#""\"#, r#""\u"#, r#""\uD8"#, "\"\\é\""] {
            assert_eq!(read(string), None, "{string}");
        }
    }

    #[test]
    fn one_odd_piece_does_not_spoil_its_neighbours() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let document = format!(r#"{{"huge":1e999,"deep":{deep},"a":"1","a":"2"}}"#);
        let pieces = object(&document).unwrap();
        assert_eq!(text(pieces["a"]).as_deref(), Some("2"));
        assert_eq!(text(pieces["huge"]), None);
        assert!(list(pieces["deep"]).is_some());
    }
}
