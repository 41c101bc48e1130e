//! An MP4 with one video track, as small as the format allows.
//!
//! A caller gets a whole file for an encoded clip: `ftyp`, then `moov`, then all frames as one chunk in `mdat`. The
//! index in front lets a browser start while the rest is on its way. Times are milliseconds throughout.
//!
//! The boxes are those of ISO/IEC 14496-12 (the file) and 14496-15 (`avc1` and `avcC`), each written in the order of
//! its fields.

use super::h264::Stream;

/// Units a second of every time in the file.
const MILLIS: u32 = 1000;
/// Bytes in front of each frame that say how long it is.
const LENGTH_BYTES: usize = 4;
/// The identity, in the fixed-point forms that the format asks for.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// What the file is made of.
#[derive(Debug)]
pub(super) struct Track<'a> {
    /// Pixels.
    pub(super) width: u16,
    /// Pixels.
    pub(super) height: u16,
    /// Milliseconds that each frame stays.
    pub(super) frame_millis: u32,
    pub(super) stream: &'a Stream,
}

impl Track<'_> {
    fn count(&self) -> u32 {
        small(self.stream.frames.len())
    }

    fn millis(&self) -> u32 {
        self.count() * self.frame_millis
    }
}

/// The bytes of the file.
pub(super) fn file(track: &Track<'_>) -> Vec<u8> {
    let ftyp = boxed(*b"ftyp", &[b"isom", &0x200_u32.to_be_bytes(), b"isom", b"iso2", b"avc1", b"mp41"]);
    // The index holds the place of the frames, which follow it: its size does not depend on that place, so a first draft tells it.
    let before = ftyp.len() + moov(track, 0).len();
    let moov = moov(track, small(before + 8));
    let frames: Vec<u8> =
        track.stream.frames.iter().flat_map(|nal| [&small(nal.len()).to_be_bytes(), nal.as_slice()].concat()).collect();
    [ftyp, moov, boxed(*b"mdat", &[&frames])].concat()
}

fn moov(track: &Track<'_>, first_frame: u32) -> Vec<u8> {
    let mvhd = full(
        *b"mvhd",
        0,
        &[
            &words(&[0, 0, MILLIS, track.millis(), 0x1_0000]), // created, modified, timescale, duration, rate 1.0
            &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],             // volume 1.0, reserved
            &words(&MATRIX),
            &words(&[0, 0, 0, 0, 0, 0, 2]), // pre_defined, next_track_ID
        ],
    );
    boxed(*b"moov", &[&mvhd, &trak(track, first_frame)])
}

fn trak(track: &Track<'_>, first_frame: u32) -> Vec<u8> {
    const ENABLED_IN_MOVIE: u32 = 3;
    let tkhd = full(
        *b"tkhd",
        ENABLED_IN_MOVIE,
        &[
            &words(&[0, 0, 1, 0, track.millis(), 0, 0]), // created, modified, track_ID, reserved, duration, reserved
            &[0; 8],                                     // layer, alternate_group, volume, reserved
            &words(&MATRIX),
            &words(&[u32::from(track.width) << 16, u32::from(track.height) << 16]),
        ],
    );
    // The language is "und" in three times five bits.
    let mdhd = full(*b"mdhd", 0, &[&words(&[0, 0, MILLIS, track.millis()]), &[0x55, 0xC4, 0, 0]]);
    let hdlr = full(*b"hdlr", 0, &[&[0; 4], b"vide", &[0; 12], b"video\0"]);
    let mdia = boxed(*b"mdia", &[&mdhd, &hdlr, &minf(track, first_frame)]);
    boxed(*b"trak", &[&tkhd, &mdia])
}

fn minf(track: &Track<'_>, first_frame: u32) -> Vec<u8> {
    const IN_THIS_FILE: u32 = 1;
    let vmhd = full(*b"vmhd", 1, &[&[0; 8]]);
    let dref = full(*b"dref", 0, &[&words(&[1]), &full(*b"url ", IN_THIS_FILE, &[])]);
    boxed(*b"minf", &[&vmhd, &boxed(*b"dinf", &[&dref]), &stbl(track, first_frame)])
}

/// The sample table: how long each frame stays, how large it is, and where the only chunk begins.
fn stbl(track: &Track<'_>, first_frame: u32) -> Vec<u8> {
    let sizes: Vec<u32> = track.stream.frames.iter().map(|nal| small(LENGTH_BYTES + nal.len())).collect();
    boxed(
        *b"stbl",
        &[
            &full(*b"stsd", 0, &[&words(&[1]), &avc1(track)]),
            &full(*b"stts", 0, &[&words(&[1, track.count(), track.frame_millis])]),
            &full(*b"stss", 0, &[&words(&[1, 1])]), // only the first frame is a key frame
            &full(*b"stsc", 0, &[&words(&[1, 1, track.count(), 1])]),
            &full(*b"stsz", 0, &[&words(&[0, track.count()]), &words(&sizes)]),
            &full(*b"stco", 0, &[&words(&[1, first_frame])]),
        ],
    )
}

fn avc1(track: &Track<'_>) -> Vec<u8> {
    const DPI_72: u32 = 0x48_0000;
    boxed(
        *b"avc1",
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1], // reserved, data_reference_index
            &[0; 16],                  // pre_defined, reserved
            &track.width.to_be_bytes(),
            &track.height.to_be_bytes(),
            &words(&[DPI_72, DPI_72, 0]),
            &[0, 1],                // frame_count
            &[0; 32],               // compressorname
            &[0, 0x18, 0xFF, 0xFF], // depth 24, pre_defined
            &avc_c(track.stream),
        ],
    )
}

/// The decoder's configuration (14496-15, 5.3.3.1): profile and level, which the parameter set repeats, and both
/// parameter sets.
fn avc_c(stream: &Stream) -> Vec<u8> {
    const RESERVED_AND_LENGTH_BYTES: u8 = 0xFF; // six bits reserved, then LENGTH_BYTES - 1
    const RESERVED_AND_ONE: u8 = 0xE1; // three bits reserved, then one sequence parameter set
    let length = |nal: &[u8]| u16::try_from(nal.len()).expect("a parameter set is a few bytes long").to_be_bytes();
    let (sequence, picture) = (&stream.sequence_parameters, &stream.picture_parameters);
    boxed(
        *b"avcC",
        &[
            &[1], // configurationVersion
            &sequence[1..4],
            &[RESERVED_AND_LENGTH_BYTES, RESERVED_AND_ONE],
            &length(sequence),
            sequence,
            &[1],
            &length(picture),
            picture,
        ],
    )
}

/// A box: its size, its name, its content.
fn boxed(name: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&small(8 + content.len()).to_be_bytes(), name.as_slice(), &content].concat()
}

/// A box whose content begins with version 0 and 24 bits of flags.
fn full(name: [u8; 4], flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    boxed(name, &[&flags.to_be_bytes(), &parts.concat()])
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn small(length: usize) -> u32 {
    u32::try_from(length).expect("a clip of seconds stays far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream {
            sequence_parameters: vec![0x67, 66, 0xC0, 30, 5],
            picture_parameters: vec![0x68, 6],
            frames: vec![vec![0x65; 40], vec![0x41; 7], vec![0x41; 11]],
        }
    }

    fn clip(stream: &Stream) -> Vec<u8> {
        file(&Track { width: 32, height: 16, frame_millis: 40, stream })
    }

    fn number(bytes: &[u8], at: usize) -> usize {
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()).try_into().unwrap()
    }

    /// The boxes that fill `bytes`, each with its content. Panics when they do not fill it exactly.
    fn boxes(mut bytes: &[u8]) -> Vec<(&str, &[u8])> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (one, rest) = bytes.split_at(number(bytes, 0));
            found.push((std::str::from_utf8(&one[4..8]).unwrap(), &one[8..]));
            bytes = rest;
        }
        found
    }

    /// The content of the box at the end of a path of names.
    fn find<'a>(bytes: &'a [u8], path: &str) -> &'a [u8] {
        path.split('/')
            .fold(bytes, |inside, name| boxes(inside).into_iter().find(|found| found.0 == name).expect(name).1)
    }

    fn table<'a>(bytes: &'a [u8], name: &str) -> &'a [u8] {
        find(bytes, &format!("moov/trak/mdia/minf/stbl/{name}"))
    }

    fn names(bytes: &[u8]) -> Vec<&str> {
        boxes(bytes).into_iter().map(|found| found.0).collect()
    }

    #[test]
    fn every_box_ends_where_the_one_around_it_ends_and_the_index_comes_first() {
        let stream = stream();
        let file = clip(&stream);
        assert_eq!(names(&file), ["ftyp", "moov", "mdat"]);
        assert_eq!(names(find(&file, "moov")), ["mvhd", "trak"]);
        assert_eq!(names(find(&file, "moov/trak")), ["tkhd", "mdia"]);
        assert_eq!(names(find(&file, "moov/trak/mdia")), ["mdhd", "hdlr", "minf"]);
        assert_eq!(names(find(&file, "moov/trak/mdia/minf")), ["vmhd", "dinf", "stbl"]);
        assert_eq!(names(find(&file, "moov/trak/mdia/minf/stbl")), ["stsd", "stts", "stss", "stsc", "stsz", "stco"]);
        assert_eq!(names(&table(&file, "stsd")[8..]), ["avc1"]);
    }

    #[test]
    fn headers_have_the_sizes_that_the_standard_gives_them() {
        let stream = stream();
        let file = clip(&stream);
        for (path, size) in
            [("moov/mvhd", 100), ("moov/trak/tkhd", 84), ("moov/trak/mdia/mdhd", 24), ("moov/trak/mdia/minf/vmhd", 12)]
        {
            assert_eq!(find(&file, path).len(), size, "{path}");
        }
    }

    #[test]
    fn following_the_index_finds_every_frame_and_nothing_else() {
        let stream = stream();
        let file = clip(&stream);
        let (sizes, chunks) = (table(&file, "stsz"), table(&file, "stsc"));
        let mut at = number(table(&file, "stco"), 8);
        assert_eq!(at, file.len() - find(&file, "mdat").len());
        assert_eq!(
            (number(sizes, 4), number(sizes, 8), number(chunks, 12)),
            (0, stream.frames.len(), stream.frames.len())
        );
        for (index, nal) in stream.frames.iter().enumerate() {
            let sample = &file[at..at + number(sizes, 12 + 4 * index)];
            assert_eq!((number(sample, 0), &sample[4..]), (nal.len(), nal.as_slice()));
            at += sample.len();
        }
        assert_eq!(at, file.len());
    }

    #[test]
    fn all_three_durations_are_that_of_the_frames() {
        let stream = stream();
        let file = clip(&stream);
        let stts = table(&file, "stts");
        assert_eq!((number(stts, 4), number(stts, 8), number(stts, 12)), (1, 3, 40));
        assert_eq!(number(find(&file, "moov/mvhd"), 16), 120);
        assert_eq!(number(find(&file, "moov/trak/tkhd"), 20), 120);
        assert_eq!(number(find(&file, "moov/trak/mdia/mdhd"), 16), 120);
    }

    #[test]
    fn the_decoder_is_told_the_parameter_sets() {
        let stream = stream();
        let file = clip(&stream);
        let avc1 = &table(&file, "stsd")[16..];
        assert_eq!(avc1[24..28], [0, 32, 0, 16]);
        assert_eq!(
            find(&avc1[78..], "avcC"),
            [1, 66, 0xC0, 30, 0xFF, 0xE1, 0, 5, 0x67, 66, 0xC0, 30, 5, 1, 0, 2, 0x68, 6]
        );
    }
}
