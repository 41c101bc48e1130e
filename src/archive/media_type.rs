//! The media type of a file, from the header of the answer, its bytes, or its name, in this order.

use crate::domain::ObjectKey;

/// Types that carry no information about the file.
const GENERIC: [&str; 3] = ["application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"];

/// The media type of a file with this `Content-Type` header and these first bytes.
#[must_use]
pub(super) fn of(header: Option<&str>, start: &[u8], key: &ObjectKey) -> String {
    let header = header.map(str::trim).filter(|header| is_media_type(header));
    if let Some(header) = header.filter(|header| !GENERIC.contains(&essence(header).as_str())) {
        return header.to_owned();
    }
    if let Some(recognized) = infer::get(start) {
        return recognized.mime_type().to_owned();
    }
    mime_guess::from_path(key.file_name()).first_or_octet_stream().to_string()
}

fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether it is `type/subtype` with characters that are valid in a header.
fn is_media_type(text: &str) -> bool {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    let visible = text.len() <= 200 && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    visible && essence(text).split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Kind;

    #[test]
    fn the_header_wins_then_the_bytes_then_the_name() {
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        let table: [(Option<&str>, &[u8], &str, &str); 9] = [
            (Some("video/mp4"), PNG, "a.gif", "video/mp4"),
            (Some("text/html; charset=utf-8"), PNG, "a.gif", "text/html; charset=utf-8"),
            (Some("application/octet-stream"), PNG, "a.gif", "image/png"),
            (Some("Binary/Octet-Stream; x=y"), b"?", "a.gif", "image/gif"),
            (Some("nonsense"), PNG, "a.gif", "image/png"),
            (Some("video/mp4\r\nX: y"), PNG, "a.gif", "image/png"),
            (None, b"", "a.mp4", "video/mp4"),
            (None, b"", "a.wav", "audio/wav"),
            (None, b"", "a", "application/octet-stream"),
        ];
        for (header, start, name, expected) in table {
            let url = url::Url::parse(&format!("https://h/{name}")).ok();
            let key = ObjectKey::new(Kind::Video, &"id".parse().unwrap(), 0, url.as_ref());
            assert_eq!(of(header, start, &key), expected, "{header:?} {name}");
        }
    }
}
