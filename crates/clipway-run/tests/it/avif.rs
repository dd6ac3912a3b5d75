//! AVIF files against the pixels and the orientation that Pillow reads from them, and hostile ones. The samples are from
//! `scripts/make_avif_samples.py`.

use clipway_run::image::{DecodeLimits, date_taken, decode};

use super::media::{Media, check_error, contents};

const SAMPLES: Media = Media { folder: "avif", end: ".avif", least: 38 };

fn sample(name: &str) -> Vec<u8> {
    SAMPLES.sample(name)
}

#[test]
fn pixels_and_orientation_are_those_of_pillow() {
    SAMPLES.check(|name| name.split_once('.').map(|(_, turn)| turn.parse().unwrap()));
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in ["rgb", "gray_alpha", "ten", "turned.6"] {
        SAMPLES.check_cut(name, |_| 1);
    }
}

#[test]
fn damaged_files_are_an_error_or_an_image() {
    SAMPLES.damage(100, &DecodeLimits { max_pixels: 1 << 16 });
}

#[test]
fn sizes_are_checked_before_anything_is_decoded() {
    let limits = DecodeLimits { max_pixels: 1000 };
    for name in ["rgb", "grid", "gray_alpha"] {
        let error = decode(&sample(name), &limits).unwrap_err();
        assert_eq!(error.code(), "too-large", "{name}: {error}");
    }
    let mut bytes = sample("rgb");
    let at = contents(&bytes, b"ispe") + 6;
    bytes[at] = 1;
    check_error(
        &bytes,
        "malformed",
        "AVIF file is corrupt: item 1: its stream has 45 x 38 pixels, its property `ispe` 301 x 38",
    );
}

#[test]
fn a_picture_is_one_frame() {
    // The stream lies at the end. It is replaced by one that is as long, and begins with the same header.
    let bytes = sample("gray");
    let start = contents(&bytes, b"mdat");
    let stream = &bytes[start..];
    assert_eq!(stream[..2], [0x12, 0], "a temporal delimiter");
    assert_eq!(stream[2], 0x0a, "a sequence header");
    let header = &stream[..4 + usize::from(stream[3])];
    let with = |units: &[u8]| {
        let mut stream = [header, units].concat();
        assert!(stream.len() <= bytes.len() - start);
        // The rest is padding.
        while stream.len() + start < bytes.len() {
            let left = (bytes.len() - start - stream.len() - 2).min(127);
            stream.extend([0x7a, left as u8]);
            stream.resize(stream.len() + left, 1);
        }
        [&bytes[..start], &stream].concat()
    };
    check_error(&with(&[]), "truncated", "AVIF file is truncated: an item holds no frame");
    check_error(
        &with(&[0x32, 1, 0, 0x32, 1, 0]),
        "unsupported",
        "AVIF is not supported: an item of several pictures",
    );
    check_error(&with(&[0x42, 1, 0]), "unsupported", "AVIF is not supported: lists of tiles");
    check_error(
        &with(&header[2..]),
        "unsupported",
        "AVIF is not supported: several sequence headers in a picture",
    );
}

#[test]
fn what_libavif_refuses_is_refused() {
    check_error(
        &sample("refused/matrix"),
        "unsupported",
        "AVIF is not supported: colors of matrix coefficients 11",
    );
    check_error(
        b"\0\0\0\x14ftypmif1\0\0\0\0avif",
        "truncated",
        "AVIF file is truncated: its 20 bytes hold no `meta` box",
    );
}

#[test]
fn the_date_of_exif_data_is_read() {
    assert_eq!(date_taken(&sample("turned.6")), Some(1_715_092_496));
    assert_eq!(date_taken(&sample("rgb")), None);
}
