//! Files that really play: an MP4, a PNG and a WAV.
//!
//! Each seed gives a file of its own, with its own hash: the same video, picture or sound, with the seed as a comment in
//! a part of the file that players skip. The same seed always gives the same bytes. README.md beside this file says how
//! the files were made.

const VIDEO: &[u8] = include_bytes!("video.mp4");
const IMAGE: &[u8] = include_bytes!("image.png");
const AUDIO: &[u8] = include_bytes!("audio.wav");

/// The size of a PNG's last chunk, `IEND`, which is empty.
const IEND_BYTES: usize = 12;
/// Where a WAV has the size of everything behind it.
const RIFF_SIZE: std::ops::Range<usize> = 4..8;

/// An MP4 of 2 s: 320 by 180 pixels, H.264, with sound.
#[must_use]
pub fn video(seed: u64) -> Vec<u8> {
    // A box is its size, its type and its content; players skip `free` boxes.
    let content = comment(seed);
    [VIDEO, &u32_size(8 + content.len()).to_be_bytes(), b"free", content.as_bytes()].concat()
}

/// A PNG of 320 by 180 pixels.
#[must_use]
pub fn image(seed: u64) -> Vec<u8> {
    // A chunk is its size, its type, its content, and a checksum of type and content.
    let chunk = [b"tEXtComment\0", comment(seed).as_bytes()].concat();
    let size = u32_size(chunk.len() - 4).to_be_bytes();
    let checksum = crc32fast::hash(&chunk).to_be_bytes();
    let (before, end) = IMAGE.split_at(IMAGE.len() - IEND_BYTES);
    [before, &size, &chunk, &checksum, end].concat()
}

/// A WAV of 1 s: 8 kHz, mono, 16 bits a sample.
#[must_use]
pub fn audio(seed: u64) -> Vec<u8> {
    // A chunk is its type, its size and its content, which has an even length. The whole file is such a chunk.
    let text = comment(seed);
    let info = [b"INFOICMT", &u32_size(text.len()).to_le_bytes()[..], text.as_bytes()].concat();
    let mut file = [AUDIO, b"LIST", &u32_size(info.len()).to_le_bytes(), &info].concat();
    let size = u32_size(file.len() - 8).to_le_bytes();
    file[RIFF_SIZE].copy_from_slice(&size);
    file
}

/// Text of an even length.
fn comment(seed: u64) -> String {
    format!("seed {seed:019x}")
}

fn u32_size(size: usize) -> u32 {
    u32::try_from(size).expect("the files are small")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    type Make = fn(u64) -> Vec<u8>;
    const MAKERS: [Make; 3] = [video, image, audio];

    /// A box or chunk: its type and its content.
    type Part<'a> = (&'a [u8], &'a [u8]);
    type Parse = fn(&[u8]) -> Vec<Part<'_>>;

    fn size_at(bytes: &[u8], from: fn([u8; 4]) -> u32) -> usize {
        from(bytes[..4].try_into().unwrap()).try_into().unwrap()
    }

    /// The boxes of an MP4; panics unless they fill the file.
    fn mp4_boxes(mut file: &[u8]) -> Vec<Part<'_>> {
        let mut boxes = Vec::new();
        while !file.is_empty() {
            let (this, rest) = file.split_at(size_at(file, u32::from_be_bytes));
            boxes.push((&this[4..8], &this[8..]));
            file = rest;
        }
        boxes
    }

    /// The chunks of a PNG; panics unless they fill the file and have the right checksums.
    fn png_chunks(file: &[u8]) -> Vec<Part<'_>> {
        let mut rest = file.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (this, after) = rest.split_at(12 + size_at(rest, u32::from_be_bytes));
            let (content, checksum) = this[4..].split_at(this.len() - 8);
            assert_eq!(checksum, crc32fast::hash(content).to_be_bytes());
            chunks.push(content.split_at(4));
            rest = after;
        }
        chunks
    }

    /// The chunks of a WAV; panics unless they fill the file.
    fn wav_chunks(file: &[u8]) -> Vec<Part<'_>> {
        let rest = file.strip_prefix(b"RIFF").unwrap();
        assert_eq!(size_at(rest, u32::from_le_bytes), file.len() - 8);
        let mut rest = rest[4..].strip_prefix(b"WAVE").unwrap();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (this, after) = rest.split_at(8 + size_at(&rest[4..], u32::from_le_bytes));
            chunks.push((&this[..4], &this[8..]));
            rest = after;
        }
        chunks
    }

    #[test]
    fn each_seed_has_its_own_bytes_and_always_the_same() {
        for make in MAKERS {
            let files: HashSet<_> = (0..8).chain([u64::MAX]).map(make).collect();
            assert_eq!(files.len(), 9);
            assert_eq!(make(7), make(7));
        }
    }

    #[test]
    fn the_comment_is_an_additional_part_of_a_well_formed_file() {
        let table: [(Make, &[u8], Parse); 3] =
            [(video, VIDEO, mp4_boxes), (image, IMAGE, png_chunks), (audio, AUDIO, wav_chunks)];
        for (make, original, parts) in table {
            let made = make(u64::MAX);
            let (mut with_comment, original) = (parts(&made), parts(original));
            let is_comment = |(_, content): &Part<'_>| content.ends_with(comment(u64::MAX).as_bytes());
            let index = with_comment.iter().position(is_comment).unwrap();
            with_comment.remove(index);
            assert_eq!(with_comment, original);
        }
    }

    #[test]
    fn all_files_together_are_small() {
        assert!(VIDEO.len() + IMAGE.len() + AUDIO.len() < 60 << 10);
    }
}
