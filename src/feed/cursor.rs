//! A place in the feed, as text that a client keeps and does not interpret.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// A place in the feed: after a notification. Its text is opaque, and safe in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedCursor {
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

/// A text that is not a [`FeedCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidFeedCursor;

impl FeedCursor {
    /// The length of a cursor's text.
    pub const LENGTH: usize = 16;

    /// Whether a reader that is at `reader` has yet to see the notification that this is the place of. Always, if the
    /// reader is in another feed.
    #[must_use]
    pub fn is_after(self, reader: Self) -> bool {
        self.feed != reader.feed || self.position > reader.position
    }
}

impl Serialize for FeedCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.feed.0[..], &self.position.to_be_bytes()].concat();
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for FeedCursor {
    type Err = InvalidFeedCursor;

    fn from_str(text: &str) -> Result<Self, InvalidFeedCursor> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidFeedCursor)?;
        let (feed, position) = bytes.split_first_chunk().ok_or(InvalidFeedCursor)?;
        let position = i64::from_be_bytes(position.try_into().map_err(|_| InvalidFeedCursor)?);
        if position < 0 {
            return Err(InvalidFeedCursor);
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
            let cursor = FeedCursor { feed, position };
            let text = cursor.to_string();
            assert_eq!(text.len(), FeedCursor::LENGTH);
            assert_eq!(text.parse(), Ok(cursor));
        }
        let negative = BASE64_URL_SAFE_NO_PAD.encode([[0; 4], [255; 4], [255; 4]].concat());
        for text in ["", "4711", "AAAA", "AAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAA=", "ÄÄÄÄÄÄÄÄ", &negative] {
            assert_eq!(text.parse::<FeedCursor>(), Err(InvalidFeedCursor), "{text:?}");
        }
    }
}
