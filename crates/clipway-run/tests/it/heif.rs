//! HEIC files against the pixels that Pillow with pillow-heif reads from them, and hostile ones. The samples are from
//! `scripts/make_heif_samples.py`.

use clipway_run::image::{DecodeLimits, date_taken, decode};

use super::media::{Media, check_error, contents, read};

const SAMPLES: Media = Media { folder: "heif", end: ".heic", least: 20 };

fn sample(name: &str) -> Vec<u8> {
    SAMPLES.sample(name)
}

#[test]
fn pixels_are_those_of_pillow() {
    // The files' turns are applied, their EXIF orientation is not.
    SAMPLES.check(|_| None);
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in SAMPLES.names() {
        // Long files are cut at every seventh byte.
        SAMPLES.check_cut(&name, |length| if length > 3000 { 7 } else { 1 });
    }
}

#[test]
fn the_end_of_a_picture_is_needed() {
    for name in ["rgb", "gray", "half", "grid", "alpha", "twelve"] {
        let bytes = sample(name);
        assert!(read(&bytes[..bytes.len() - 20]).is_err(), "{name} without its last bytes");
    }
}

#[test]
fn damaged_files_are_an_error_or_an_image() {
    SAMPLES.damage(300, &DecodeLimits { max_pixels: 1 << 18 });
}

fn replaced(name: &str, kind: &[u8; 4], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = sample(name);
    let at = contents(&bytes, kind) + at;
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

#[test]
fn sizes_are_checked_before_anything_is_decoded() {
    let limits = DecodeLimits { max_pixels: 1000 };
    for name in ["rgb", "grid", "gray_alpha"] {
        let error = decode(&sample(name), &limits).unwrap_err();
        assert_eq!(error.code(), "too-large", "{name}: {error}");
    }
    check_error(
        &replaced("gray", b"ispe", 4, &[0, 0, 0xff, 0xff]),
        "malformed",
        "HEIC file is corrupt: item 1: its stream has 64 x 64 pixels, its property `ispe` 65535 x 64",
    );
}

#[test]
fn a_grid_must_fit_its_tiles() {
    // Version, flags, and one less than the rows and the columns.
    let bytes = sample("grid_moved");
    let layout =
        bytes.windows(12).position(|found| found == [0, 1, 1, 2, 0, 0, 0, 150, 0, 0, 0, 70]).unwrap();
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[layout + at] = value;
        bytes
    };
    check_error(&with(2, 255), "malformed", "HEIC file is corrupt: its grid has 6 tiles, expected 3 x 256");
    check_error(
        &with(4, 255),
        "malformed",
        "HEIC file is corrupt: its grid has 4278190230 x 70 pixels, its property `ispe` others",
    );
    check_error(&with(0, 1), "unsupported", "HEIC is not supported: grids of version 1");
    // A grid of itself.
    let mut bytes = sample("grid");
    let primary = bytes[contents(&bytes, b"pitm") + 4..][..2].to_vec();
    let references = contents(&bytes, b"dimg") + 4;
    for tile in bytes[references..references + 12].as_chunks_mut::<2>().0 {
        tile.copy_from_slice(&primary);
    }
    check_error(&bytes, "unsupported", "HEIC is not supported: tiles of the kind `grid`");
}

#[test]
fn references_and_extents_stay_inside_the_file() {
    check_error(
        &replaced("rgb", b"pitm", 4, &[0, 99]),
        "malformed",
        "HEIC file is corrupt: item 99 is referred to and not described",
    );
    check_error(
        &replaced("rgb", b"hdlr", 8, b"vide"),
        "unsupported",
        "HEIC is not supported: items for the handler `vide`",
    );
    let bytes = sample("rgb");
    let start = contents(&bytes, b"mdat");
    check_error(
        &bytes[..bytes.len() - 10],
        "truncated",
        &format!(
            "HEIC file is truncated: item 1: expected {} bytes at {start}, of {} in total",
            bytes.len() - start,
            bytes.len() - 10
        ),
    );
}

#[test]
fn what_another_decoder_would_need_is_named() {
    let kinds = [
        #[cfg(not(feature = "avif"))]
        (*b"av01", "AVIF is not supported: this program was built without the feature `avif`"),
        (*b"jpeg", "HEIC is not supported: images of the kind `jpeg`"),
    ];
    for (kind, expected) in kinds {
        let mut bytes = sample("rgb");
        let at = contents(&bytes, b"hvc1") - 4;
        bytes[at..at + 4].copy_from_slice(&kind);
        check_error(&bytes, "unsupported", expected);
    }
    check_error(
        &sample("refused/slices"),
        "unsupported",
        "HEIC is not supported: multiple slices require intra coding and disabled loop filters",
    );
    check_error(
        &sample("refused/range"),
        "unsupported",
        "HEIC is not supported: a change of colors in limited range between the pixels of an odd size",
    );
    #[cfg(not(feature = "avif"))]
    check_error(
        b"\0\0\0\x14ftypmif1\0\0\0\0avif",
        "unsupported",
        "AVIF is not supported: this program was built without the feature `avif`",
    );
    check_error(
        b"\0\0\0\x14ftypheic\0\0\0\0mif1",
        "truncated",
        "HEIC file is truncated: its 20 bytes hold no `meta` box",
    );
}

#[test]
fn the_date_of_exif_data_is_read() {
    assert_eq!(date_taken(&sample("turned")), Some(1_715_092_496));
    assert_eq!(date_taken(&sample("rgb")), None);
    let bytes = sample("turned");
    for length in 0..bytes.len() {
        date_taken(&bytes[..length]);
    }
}
