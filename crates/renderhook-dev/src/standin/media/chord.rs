//! What the sound file holds: four notes of a major chord.
//!
//! A caller gets a whole WAV. The notes stand in the pure ratios 4 : 5 : 6 : 8 and start at phases of their own. It
//! begins and ends in silence, so that no player clicks, and it never clips.
//!
//! Integers only: a sine from the platform's mathematics library may differ in its last bit from one machine to the
//! next.

use std::io::Cursor;

/// Samples a second.
const RATE: u32 = 24_000;
/// Samples in the file: 1 s.
const LENGTH: u32 = RATE;
/// Samples over which the chord swells: 50 ms.
const SWELL: u32 = RATE / 20;
/// Samples over which it dies away: 600 ms.
const DECAY: u32 = RATE * 3 / 5;
/// The notes, as multiples of a quarter of the lowest.
const RATIOS: [u32; 4] = [4, 5, 6, 8];
/// The loudest that one note gets. Four of them stay under the 32767 that a sample can hold.
const LOUDNESS: i64 = 5_000;

/// The file for one throw of eight dice.
pub(super) fn wav(dice: [u8; 8]) -> Vec<u8> {
    const IN_MEMORY: &str = "writing a short sound to memory succeeds";
    let spec =
        hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).expect(IN_MEMORY);
    for sample in samples(dice) {
        writer.write_sample(sample).expect(IN_MEMORY);
    }
    writer.finalize().expect(IN_MEMORY);
    file.into_inner()
}

fn samples(dice: [u8; 8]) -> impl Iterator<Item = i16> {
    let [pitch, phases @ .., _] = dice;
    // The lowest note lies between 180 Hz and 308 Hz. A turn is 2^32, so a phase wraps around by itself.
    let quarter_note = (u32::MAX / RATE) * (360 + u32::from(pitch)) / 8;
    (0..LENGTH).map(move |at| {
        let note = |(ratio, phase): (u32, u8)| {
            sine((quarter_note * ratio).wrapping_mul(at).wrapping_add(u32::from(phase) << 24))
        };
        let chord: i64 = RATIOS.into_iter().zip(phases).map(note).sum();
        let swell = i64::from(at.min(SWELL));
        let decay = i64::from((LENGTH - 1 - at).min(DECAY));
        let faded = chord * swell / i64::from(SWELL) * decay / i64::from(DECAY);
        i16::try_from(faded).expect("four notes at their loudest fit a sample")
    })
}

/// The sine of a phase (a turn is 2^32) times [`LOUDNESS`], after Bhaskara: no farther off than a fifth of a percent.
fn sine(phase: u32) -> i64 {
    const HALF_TURN: i64 = 1 << 15;
    let turned = i64::from(phase >> 16);
    let (into, sign) = if turned < HALF_TURN { (turned, 1) } else { (turned - HALF_TURN, -1) };
    let arch = into * (HALF_TURN - into);
    sign * LOUDNESS * 16 * arch / (5 * HALF_TURN * HALF_TURN - 4 * arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(file: &[u8], at: usize) -> usize {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap()).try_into().unwrap()
    }

    #[test]
    fn the_sizes_in_the_header_agree_with_the_file() {
        let file = wav([7; 8]);
        assert_eq!((&file[..4], &file[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
        assert_eq!(four(&file, 4), file.len() - 8);
        let data = 20 + four(&file, 16);
        assert_eq!(&file[data..data + 4], b"data");
        assert_eq!(four(&file, data + 4), file.len() - data - 8);
        assert_eq!(four(&file, data + 4), usize::try_from(LENGTH).unwrap() * 2);
    }

    #[test]
    fn the_file_reads_back_as_mono_of_16_bits() {
        let mut reader = hound::WavReader::new(Cursor::new(wav([7; 8]))).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, RATE, 16));
        let read: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert!(read.into_iter().eq(samples([7; 8])));
    }

    #[test]
    fn the_chord_is_heard_between_two_silences() {
        for dice in [[0; 8], [64; 8], [255; 8]] {
            let sound: Vec<i16> = samples(dice).collect();
            assert_eq!((sound[0], sound[sound.len() - 1]), (0, 0));
            assert!(sound.iter().any(|sample| sample.unsigned_abs() > 4_000));
        }
    }

    #[test]
    fn the_sine_passes_through_its_four_corners() {
        let corners = [0, 1 << 30, 2 << 30, 3 << 30].map(sine);
        assert_eq!(corners, [0, LOUDNESS, 0, -LOUDNESS]);
    }
}
