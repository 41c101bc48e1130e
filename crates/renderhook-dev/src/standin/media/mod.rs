//! The files that the stand-in gives away: a clip, a sound and a picture that really play.
//!
//! A caller gets the bytes of an MP4, a WAV or a PNG made on the spot from a seed, with no network, no file and no
//! other program. Colours, path and pitch follow the seed, so the results of two renders can be told apart by eye and
//! by ear.
//!
//! Guaranteed:
//! - The same seed gives the same bytes within one build: the drawing and the sound are integer arithmetic, and
//!   nothing asks a clock or a random source. The picture's bytes (never its pixels) may change with the PNG library.
//! - [`image`] is the frame in the middle of [`video`] for the same seed, as a thumbnail is.
//! - No file reaches 512 KiB.
//!
//! A file of random bytes would pass through the archive as well, but would prove nothing to whoever opens it. PNG
//! and WAV come from the libraries that everybody uses. H.264 does not: `less-avc`, the small encoder in pure Rust,
//! writes every frame whole, seven times the size, and names a level that such a clip exceeds. Nor do the boxes around
//! it: a clip of one track needs few of them.

mod chord;
mod h264;
mod mp4;
mod scene;

use scene::{FRAMES, HEIGHT, Scene, WIDTH};

/// Milliseconds that one frame stays: 25 frames a second.
const FRAME_MILLIS: u32 = 40;

/// An MP4 of 2 s: a ball that bounces through a gradient, 160 by 96, 25 frames a second, H.264 constrained baseline,
/// no sound.
///
/// The index stands in front of the frames, so a player can start before the whole file is there.
#[must_use]
pub fn video(seed: u64) -> Vec<u8> {
    let scene = Scene::new(dice(seed));
    let stream = h264::encode(usize::from(WIDTH), (0..FRAMES).map(|frame| scene.draw(frame)));
    mp4::file(&mp4::Track { width: WIDTH, height: HEIGHT, frame_millis: FRAME_MILLIS, stream: &stream })
}

/// A WAV of 1 s: a major chord that swells and dies away, 24 kHz, mono, 16 bits a sample.
#[must_use]
pub fn audio(seed: u64) -> Vec<u8> {
    chord::wav(dice(seed))
}

/// A PNG of 160 by 96, 8 bits a channel: the frame in the middle of [`video`].
#[must_use]
pub fn image(seed: u64) -> Vec<u8> {
    const IN_MEMORY: &str = "writing a whole image of the announced size to memory succeeds";
    let pixels = Scene::new(dice(seed)).draw(FRAMES / 2);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, WIDTH.into(), HEIGHT.into());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect(IN_MEMORY);
    writer.write_image_data(pixels.as_flattened()).expect(IN_MEMORY);
    writer.finish().expect(IN_MEMORY);
    file
}

/// Eight bytes that look unrelated for neighbouring seeds, one throw for each choice (the `SplitMix64` finalizer, a
/// bijection).
fn dice(seed: u64) -> [u8; 8] {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Cursor;

    use super::*;

    const SEEDS: std::ops::Range<u64> = 0..8;
    const MAKERS: [fn(u64) -> Vec<u8>; 3] = [video, audio, image];

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        for make in MAKERS {
            assert_eq!(make(7), make(7));
        }
    }

    #[test]
    fn every_seed_gives_its_own_bytes() {
        for make in MAKERS {
            let files: HashSet<_> = SEEDS.map(make).collect();
            assert_eq!(files.len(), SEEDS.count());
        }
    }

    #[test]
    fn no_file_reaches_half_a_mebibyte() {
        for make in MAKERS {
            for seed in SEEDS.chain([u64::MAX]) {
                let size = make(seed).len();
                assert!((1 << 10..512 << 10).contains(&size), "seed {seed} gives {size} bytes");
            }
        }
    }

    #[test]
    fn the_picture_decodes_to_the_middle_frame() {
        let file = image(7);
        assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
        let mut reader = png::Decoder::new(Cursor::new(&file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (WIDTH.into(), HEIGHT.into()));
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        assert_eq!(pixels, Scene::new(dice(7)).draw(FRAMES / 2).as_flattened());
    }

    #[test]
    fn the_clip_holds_a_sample_for_every_frame_and_lasts_two_seconds() {
        let file = video(7);
        let stsz = file.windows(4).position(|name| name == b"stsz").unwrap();
        assert_eq!(file[stsz + 12..stsz + 16], u32::from(FRAMES).to_be_bytes());
        assert_eq!(u32::from(FRAMES) * FRAME_MILLIS, 2000);
    }
}
