//! Reads JSON field by field, tolerating odd values.
//!
//! RFC 8259 allows values that Rust or Postgres cannot represent: lone surrogates, numbers of any size, U+0000. Parsing
//! the document as a whole would reject the event for one such value. Instead, the document is split into raw values, and
//! each is parsed by itself; one that fails to parse counts as absent.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

/// The raw values of an object by name. If a name is repeated, the last value counts.
pub(super) type Object<'a> = HashMap<String, &'a RawValue>;

/// Converts `body` to text that a strict parser accepts: bytes that are not UTF-8 and escapes of lone surrogates become
/// U+FFFD.
pub(super) fn replace_invalid_text(body: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(body) {
        text if !text.contains("\\u") => text,
        text => Cow::Owned(replace_lone_surrogates(&text)),
    }
}

fn replace_lone_surrogates(text: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        replaced.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (code_unit(rest), code_unit(rest.get(6..).unwrap_or_default())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                replaced.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // Another escape: skip the backslash and the escaped character, so that `\\u` is not read as `\u`.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        replaced.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    replaced + rest
}

/// The UTF-16 code unit of a `\uXXXX` escape at the start of `text`.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

/// The raw values of an object, or `None` for any other JSON value.
pub(super) fn parse_object(text: &str) -> Option<Object<'_>> {
    serde_json::from_str(text).ok()
}

/// The raw values of an array, or `None` for any other JSON value.
pub(super) fn parse_list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// A string. U+0000, which Postgres cannot store, becomes U+FFFD; the stored body keeps the original.
pub(super) fn parse_string(raw: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(raw.get()).ok()?;
    Some(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text })
}

/// A finite number.
pub(super) fn parse_number(raw: &RawValue) -> Option<f64> {
    serde_json::from_str(raw.get()).ok().filter(|number: &f64| number.is_finite())
}

/// Whether the value is `null`.
pub(super) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(string: &str) -> Option<String> {
        let replaced = replace_invalid_text(string.as_bytes()).into_owned();
        parse_string(&RawValue::from_string(replaced).ok()?)
    }

    #[test]
    fn lone_surrogates_are_replaced_and_everything_else_is_unchanged() {
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
            assert_eq!(parse(string).as_deref(), Some(expected), "{string}");
        }
    }

    #[test]
    fn invalid_escapes_still_fail_to_parse() {
        for string in [r#""\u12""#, r#""\uzzzz""#, r#""\"#, r#""\u"#, r#""\uD8"#, "\"\\é\""] {
            assert_eq!(parse(string), None, "{string}");
        }
    }

    #[test]
    fn one_odd_value_does_not_affect_the_others() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let document = format!(r#"{{"huge":1e999,"deep":{deep},"a":"1","a":"2"}}"#);
        let object = parse_object(&document).unwrap();
        assert_eq!(parse_string(object["a"]).as_deref(), Some("2"));
        assert_eq!(parse_string(object["huge"]), None);
        assert!(parse_list(object["deep"]).is_some());
    }
}
