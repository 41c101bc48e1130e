//! A place in the feed, as text that a client keeps and does not interpret.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use uuid::Uuid;

/// A place in the feed: after a notification. Its text is opaque, and safe in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which feed.
    pub(super) feed: FeedId,
    /// The position of the notification; 0 is the beginning.
    pub(super) position: i64,
}

/// Enough of a feed's id to recognize a cursor of another database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FeedId([u8; 4]);

impl From<Uuid> for FeedId {
    fn from(id: Uuid) -> Self {
        let [a, b, c, d, ..] = id.into_bytes();
        Self([a, b, c, d])
    }
}

/// A text that is not a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidCursor;

impl Cursor {
    /// The length of a cursor's text.
    pub const LENGTH: usize = 16;
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.feed.0[..], &self.position.to_be_bytes()].concat();
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let (feed, position) = bytes.split_first_chunk().ok_or(InvalidCursor)?;
        let position = i64::from_be_bytes(position.try_into().map_err(|_| InvalidCursor)?);
        if position < 0 {
            return Err(InvalidCursor);
        }
        Ok(Self { feed: FeedId(*feed), position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_itself_and_no_other_text_reads() {
        let feed = FeedId::from(Uuid::from_u128(0x8f3b_1234_0000_0000_0000_0000_0000_0001));
        for position in [0, 1, 4711, i64::MAX] {
            let cursor = Cursor { feed, position };
            let text = cursor.to_string();
            assert_eq!(text.len(), Cursor::LENGTH);
            assert_eq!(text.parse(), Ok(cursor));
        }
        let negative = BASE64_URL_SAFE_NO_PAD.encode([[0; 4], [255; 4], [255; 4]].concat());
        for text in ["", "4711", "AAAA", "AAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAA=", "ÄÄÄÄÄÄÄÄ", &negative] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text:?}");
        }
    }
}
