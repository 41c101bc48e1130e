//! The smallest H.264 encoder that makes a moving picture: what changed is sent raw, what did not is skipped.
//!
//! A caller gets a [`Stream`]: the two parameter sets and one NAL unit a frame, ready for the `avc1` track of an MP4.
//! The first frame is an IDR picture of `I_PCM` macroblocks; in every later one a macroblock is `P_Skip` when it
//! equals the one before and `I_PCM` when not. So nothing is ever predicted, transformed or quantized: a decoder
//! shows exactly the samples that went in.
//!
//! The numbers in the comments are clauses of Rec. ITU-T H.264. The profile is constrained baseline, which every
//! browser plays. Colours are converted as BT.601 in the narrow range, which players assume of small pictures that do
//! not say.

use super::scene::{Rgb, byte};

/// Samples of one macroblock: 16 by 16 of luma, then 8 by 8 each of Cb and Cr, in the order in which `I_PCM` sends
/// them.
const SAMPLES: usize = 384;
/// Constrained baseline: `profile_idc` 66 with `constraint_set0_flag` and `constraint_set1_flag`.
const PROFILE: [u8; 2] = [66, 0xC0];
/// Level 3, whose 10 Mbit/s are far above what a clip of this size needs.
const LEVEL: u8 = 30;

/// The pixels of one macroblock, 16 a row.
type Macroblock = [Rgb; 256];

/// An encoded clip. NAL units come without start codes and without lengths.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) sequence_parameters: Vec<u8>,
    pub(super) picture_parameters: Vec<u8>,
    /// One NAL unit a frame, in the order of display. Only the first can be decoded by itself.
    pub(super) frames: Vec<Vec<u8>>,
}

/// Encodes frames of `width` pixels a row. Width and height are multiples of 16, and the same in every frame.
pub(super) fn encode(width: usize, frames: impl Iterator<Item = Vec<Rgb>>) -> Stream {
    let mut previous: Vec<Macroblock> = Vec::new();
    let mut frame_num: u8 = 0;
    let frames = frames
        .map(|pixels| {
            let current = macroblocks(width, &pixels);
            let nal =
                if previous.is_empty() { key_frame(&current) } else { delta_frame(frame_num, &previous, &current) };
            previous = current;
            frame_num = frame_num.wrapping_add(1);
            nal
        })
        .collect();
    let columns = width / 16;
    Stream {
        sequence_parameters: sequence_parameters(columns, previous.len() / columns),
        picture_parameters: picture_parameters(),
        frames,
    }
}

/// The sequence parameter set (7.3.2.1.1), for a size in macroblocks.
fn sequence_parameters(columns: usize, rows: usize) -> Vec<u8> {
    let size = |macroblocks: usize| u32::try_from(macroblocks).expect("a picture is a few macroblocks wide and high");
    let mut bits = Bits::default();
    bits.bytes(&[PROFILE[0], PROFILE[1], LEVEL]);
    bits.number(0); // seq_parameter_set_id
    bits.number(4); // log2_max_frame_num_minus4: frame_num is a byte
    bits.number(2); // pic_order_cnt_type: frames are shown in the order in which they are sent
    bits.number(1); // max_num_ref_frames
    bits.flag(false); // gaps_in_frame_num_value_allowed_flag
    bits.number(size(columns) - 1); // pic_width_in_mbs_minus1
    bits.number(size(rows) - 1); // pic_height_in_map_units_minus1
    bits.flag(true); // frame_mbs_only_flag
    bits.flag(true); // direct_8x8_inference_flag
    bits.flag(false); // frame_cropping_flag
    bits.flag(false); // vui_parameters_present_flag
    bits.nal(0x67)
}

/// The picture parameter set (7.3.2.2).
fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.number(0); // pic_parameter_set_id
    bits.number(0); // seq_parameter_set_id
    bits.flag(false); // entropy_coding_mode_flag: CAVLC
    bits.flag(false); // bottom_field_pic_order_in_frame_present_flag
    bits.number(0); // num_slice_groups_minus1
    bits.number(0); // num_ref_idx_l0_default_active_minus1
    bits.number(0); // num_ref_idx_l1_default_active_minus1
    bits.flag(false); // weighted_pred_flag
    bits.byte(0, 2); // weighted_bipred_idc
    bits.number(0); // pic_init_qp_minus26 (signed; 0 is the same code)
    bits.number(0); // pic_init_qs_minus26
    bits.number(0); // chroma_qp_index_offset
    bits.flag(true); // deblocking_filter_control_present_flag: each slice turns the filter off
    bits.flag(false); // constrained_intra_pred_flag
    bits.flag(false); // redundant_pic_cnt_present_flag
    bits.nal(0x68)
}

/// The first picture: an IDR slice (7.3.3) of `I_PCM` macroblocks.
fn key_frame(current: &[Macroblock]) -> Vec<u8> {
    const I_PCM: u32 = 25; // table 7-11
    let mut bits = Bits::default();
    bits.number(0); // first_mb_in_slice
    bits.number(7); // slice_type: I, as all slices of the picture
    bits.number(0); // pic_parameter_set_id
    bits.byte(0, 8); // frame_num
    bits.number(0); // idr_pic_id
    bits.flag(false); // no_output_of_prior_pics_flag
    bits.flag(false); // long_term_reference_flag
    bits.number(0); // slice_qp_delta
    bits.number(1); // disable_deblocking_filter_idc
    for macroblock in current {
        bits.number(I_PCM);
        bits.align();
        bits.bytes(&samples(macroblock));
    }
    bits.nal(0x65)
}

/// A later picture: a P slice (7.3.3) that repeats the picture before, but for the macroblocks that differ.
///
/// `P_Skip` copies from the same place: its motion vector is the median of its neighbours' (8.4.1.1), and none of
/// them ever moves.
fn delta_frame(frame_num: u8, previous: &[Macroblock], current: &[Macroblock]) -> Vec<u8> {
    const I_PCM_IN_P: u32 = 5 + 25; // tables 7-13 and 7-11
    let mut bits = Bits::default();
    bits.number(0); // first_mb_in_slice
    bits.number(5); // slice_type: P, as all slices of the picture
    bits.number(0); // pic_parameter_set_id
    bits.byte(frame_num, 8); // frame_num
    bits.flag(false); // num_ref_idx_active_override_flag
    bits.flag(false); // ref_pic_list_modification_flag_l0
    bits.flag(false); // adaptive_ref_pic_marking_mode_flag
    bits.number(0); // slice_qp_delta
    bits.number(1); // disable_deblocking_filter_idc
    let mut skipped = 0;
    for (before, macroblock) in previous.iter().zip(current) {
        if before == macroblock {
            skipped += 1;
            continue;
        }
        bits.number(skipped); // mb_skip_run
        skipped = 0;
        bits.number(I_PCM_IN_P);
        bits.align();
        bits.bytes(&samples(macroblock));
    }
    if skipped > 0 {
        bits.number(skipped);
    }
    bits.nal(0x41)
}

/// Cuts a frame into macroblocks, row by row.
fn macroblocks(width: usize, pixels: &[Rgb]) -> Vec<Macroblock> {
    let columns = width / 16;
    (0..pixels.len() / 256)
        .map(|index| {
            let corner = index / columns * 16 * width + index % columns * 16;
            std::array::from_fn(|at| pixels[corner + at / 16 * width + at % 16])
        })
        .collect()
}

/// A macroblock in `Y'CbCr` (BT.601, narrow range). A chroma sample is the mean of its four pixels (4:2:0).
fn samples(macroblock: &Macroblock) -> [u8; SAMPLES] {
    let weigh = |at: usize, [red, green, blue]: [i32; 3]| {
        let pixel = macroblock[at].map(i32::from);
        pixel[0] * red + pixel[1] * green + pixel[2] * blue
    };
    let chroma = |at: usize, weights| {
        let first = at / 8 * 32 + at % 8 * 2;
        let four: i32 = [0, 1, 16, 17].map(|next| weigh(first + next, weights)).iter().sum();
        byte(((four + 512) >> 10) + 128)
    };
    std::array::from_fn(|at| match at {
        0..256 => byte(((weigh(at, [66, 129, 25]) + 128) >> 8) + 16),
        256..320 => chroma(at - 256, [-38, -74, 112]),
        _ => chroma(at - 320, [112, -94, -18]),
    })
}

/// A bit stream, filled from each byte's highest bit down.
#[derive(Debug, Default)]
struct Bits {
    written: Vec<u8>,
    /// Bits still free in the last byte.
    free: u8,
}

impl Bits {
    fn flag(&mut self, set: bool) {
        if self.free == 0 {
            self.written.push(0);
            self.free = 8;
        }
        self.free -= 1;
        if let Some(last) = self.written.last_mut() {
            *last |= u8::from(set) << self.free;
        }
    }

    /// The lowest `width` bits of a byte.
    fn byte(&mut self, value: u8, width: u8) {
        for place in (0..width).rev() {
            self.flag(value >> place & 1 == 1);
        }
    }

    /// An unsigned Exp-Golomb code (9.1): as many zeros as the number plus one has bits after its first, then that
    /// sum.
    fn number(&mut self, value: u32) {
        let sum = value + 1;
        let after_first = sum.ilog2();
        for _ in 0..after_first {
            self.flag(false);
        }
        for place in (0..=after_first).rev() {
            self.flag(sum >> place & 1 == 1);
        }
    }

    /// Zeros up to the next whole byte.
    fn align(&mut self) {
        self.free = 0;
    }

    /// Whole bytes; the stream stands between two.
    fn bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.free, 0);
        self.written.extend_from_slice(bytes);
    }

    /// Ends the stream and wraps it as a NAL unit (7.3.1): the header, then the payload with a 3 wherever it would
    /// look like a start code.
    fn nal(mut self, header: u8) -> Vec<u8> {
        self.flag(true); // rbsp_stop_one_bit
        let mut unit = vec![header];
        let mut zeros = 0;
        for byte in self.written {
            if zeros == 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: Rgb = [128; 3];

    fn sizes(frames: Vec<Vec<Rgb>>) -> Vec<usize> {
        encode(32, frames.into_iter()).frames.iter().map(Vec::len).collect()
    }

    #[test]
    fn numbers_are_written_as_the_standard_tabulates_them() {
        // Table 9-2.
        for (value, code) in
            [(0, "1"), (1, "010"), (2, "011"), (3, "00100"), (6, "00111"), (7, "0001000"), (9, "0001010")]
        {
            let mut bits = Bits::default();
            bits.number(value);
            let width = 8 * bits.written.len() - usize::from(bits.free);
            let all: Vec<_> = bits.written.iter().map(|byte| format!("{byte:08b}")).collect();
            assert_eq!(&all.concat()[..width], code);
        }
    }

    #[test]
    fn a_payload_never_holds_a_start_code() {
        for (payload, unit) in [
            (&[0, 0, 0][..], &[9, 0, 0, 3, 0, 0x80][..]),
            (&[0, 0, 1], &[9, 0, 0, 3, 1, 0x80]),
            (&[0, 0, 3], &[9, 0, 0, 3, 3, 0x80]),
            (&[0, 0, 4], &[9, 0, 0, 4, 0x80]),
            (&[0, 0, 0, 0, 0], &[9, 0, 0, 3, 0, 0, 3, 0, 0x80]),
        ] {
            let mut bits = Bits::default();
            bits.bytes(payload);
            assert_eq!(bits.nal(9), unit);
        }
    }

    #[test]
    fn a_frame_that_repeats_costs_a_few_bytes_and_a_change_costs_its_macroblocks() {
        let still = vec![GREY; 32 * 32];
        let mut changed = still.clone();
        changed[5] = [255, 0, 0];
        changed[32 * 31 + 31] = [255, 0, 0];
        let sizes = sizes(vec![still.clone(), still, changed]);
        assert!((4 * SAMPLES..4 * SAMPLES + 24).contains(&sizes[0]), "{sizes:?}");
        assert!(sizes[1] < 10, "{sizes:?}");
        assert!((2 * SAMPLES..2 * SAMPLES + 16).contains(&sizes[2]), "{sizes:?}");
    }

    #[test]
    fn the_first_frame_is_the_only_key_frame() {
        let stream = encode(16, (0..3).map(|_| vec![GREY; 256]));
        let kinds: Vec<u8> = stream.frames.iter().map(|nal| nal[0] & 0x1F).collect();
        assert_eq!(kinds, [5, 1, 1]);
        assert_eq!((stream.sequence_parameters[0] & 0x1F, stream.picture_parameters[0] & 0x1F), (7, 8));
    }

    #[test]
    fn colours_become_the_levels_of_the_narrow_range() {
        for (rgb, expected) in [
            ([0, 0, 0], [16, 128, 128]),
            ([255, 255, 255], [235, 128, 128]),
            ([255, 0, 0], [82, 90, 240]),
            ([0, 0, 255], [41, 240, 110]),
        ] {
            let block = samples(&[rgb; 256]);
            assert_eq!([block[0], block[256], block[320]], expected);
            assert_eq!([block[255], block[319], block[383]], expected);
        }
    }

    #[test]
    fn macroblocks_follow_the_rows_of_the_picture() {
        let mut pixels = vec![[0; 3]; 32 * 32];
        pixels[32 * 18 + 17] = [255; 3];
        let lit = |block: &Macroblock| block.iter().position(|&pixel| pixel == [255; 3]);
        let found: Vec<_> = macroblocks(32, &pixels).iter().map(lit).collect();
        assert_eq!(found, [None, None, None, Some(2 * 16 + 1)]);
    }

    #[test]
    fn a_chroma_sample_belongs_to_its_square_of_four_pixels() {
        let mut block = [GREY; 256];
        for at in [2 * 16 + 4, 2 * 16 + 5, 3 * 16 + 4, 3 * 16 + 5] {
            block[at] = [255, 0, 0];
        }
        let red = samples(&block)[320..].iter().position(|&sample| sample == 240);
        assert_eq!(red, Some(8 + 2));
    }
}
