//! Damaged images of every format: an error or the whole image, never a part of one.

use std::fs;
use std::path::Path;

use clipway_run::image::{DecodeLimits, Image, ImageError, Preprocess, decode, transform};

use super::draw::Draw;

/// Returns the samples written by `scripts/make_image_samples.py`, by name.
fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images");
    let mut samples: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    samples.sort();
    assert!(samples.len() >= 30, "{} samples", samples.len());
    samples
}

fn sample(name: &str) -> Vec<u8> {
    samples().into_iter().find(|(found, _)| found == name).unwrap().1
}

fn read(bytes: &[u8]) -> Result<Image, ImageError> {
    decode(bytes, &DecodeLimits::default())
}

/// Returns how many bytes at the end of a sample its first image can lose and still be whole.
fn spare(name: &str, bytes: &[u8]) -> usize {
    match name {
        // The `IEND` chunk, and the checksum of the data before it.
        _ if name.ends_with(".png") => 16,
        // Later frames.
        "animated.gif" => bytes.len() / 2 + 20,
        // The trailer, the end of the blocks, and a code that the pixel count makes redundant.
        _ if name.ends_with(".gif") => 5,
        // The end-of-row and end-of-image markers, and a byte that pads the last pair.
        _ if name.starts_with("rle") => 5,
        // The padding of the last row.
        _ if name.ends_with(".bmp") => 3,
        _ => 0,
    }
}

#[test]
fn an_image_cut_anywhere_is_an_error() {
    for (name, bytes) in samples() {
        let whole = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((whole.width, whole.height), (45, 38), "{name}");
        for length in 0..bytes.len() {
            match read(&bytes[..length]) {
                Ok(image) => {
                    assert!(length + spare(&name, &bytes) >= bytes.len(), "{name} cut at {length} was read");
                    assert!(image == whole, "{name} cut at {length} is another image");
                }
                Err(ImageError::Truncated { .. } | ImageError::Corrupt { .. }) => {}
                Err(ImageError::NotAnImage { .. }) if length < 12 => {}
                Err(error) => panic!("{name} cut at {length}: {error}"),
            }
        }
    }
}

#[test]
fn flipped_bits_are_an_error_or_an_image() {
    let settings = Preprocess { size: (8, 8), ..Preprocess::default() };
    let mut draw = Draw(1);
    for (name, bytes) in samples() {
        for round in 0..400 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + round % 3 {
                let place = if round % 2 == 0 { draw.below(damaged.len()) } else { draw.below(64) };
                damaged[place] ^= 1 << draw.below(8);
            }
            if let Ok(image) = decode(&damaged, &DecodeLimits { max_pixels: 1 << 20 }) {
                transform(&image, &settings).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}

/// Checks files that are well-formed but whose pixels end too soon.
fn check_short(name: &str, files: impl IntoIterator<Item = (usize, Vec<u8>)>) {
    let mut count = 0;
    for (kept, file) in files {
        count += 1;
        let found = read(&file);
        assert!(found.is_err(), "{name} was read with {kept} bytes of its data");
    }
    assert!(count > 10, "{name}: only {count} files");
}

#[test]
fn a_jpeg_whose_scan_ends_too_soon_is_an_error() {
    for name in ["baseline.jpg", "422.jpg", "444.jpg", "restarts.jpg", "gray.jpg", "cmyk.jpg"] {
        let bytes = sample(name);
        let scan = bytes.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap() + 20;
        // The last bytes may be nothing but padding of the last block.
        check_short(
            name,
            (scan..bytes.len() - 8).map(|length| (length, [&bytes[..length], &[0xff, 0xd9]].concat())),
        );
    }
}

#[test]
fn a_progressive_jpeg_without_a_part_of_a_scan_is_an_error() {
    for name in ["progressive.jpg", "gray_progressive.jpg"] {
        let bytes = sample(name);
        let marker = |from: usize| {
            let found = bytes[from..].windows(2).position(|pair| pair[0] == 0xff && pair[1] != 0);
            from + found.unwrap()
        };
        let mut short = Vec::new();
        for at in (0..bytes.len() - 1).filter(|&at| bytes[at..at + 2] == [0xff, 0xda]) {
            let first = at + 2 + usize::from(bytes[at + 3]);
            let end = marker(first);
            short.extend(
                (first..end.saturating_sub(3)).map(|kept| (kept, [&bytes[..kept], &bytes[end..]].concat())),
            );
        }
        check_short(name, short);
    }
}

fn be32(value: usize) -> [u8; 4] {
    (value as u32).to_be_bytes()
}

#[test]
fn a_png_whose_data_end_too_soon_is_an_error() {
    for name in ["rgb.png", "rgba.png", "gray16.png", "palette.png", "bilevel.png", "interlaced.png"] {
        let bytes = sample(name);
        let start = bytes.windows(4).position(|name| name == b"IDAT").unwrap();
        let stated = u32::from_be_bytes(bytes[start - 4..start].try_into().unwrap()) as usize;
        let chunk = |name: &[u8], body: &[u8]| {
            let named = [name, body].concat();
            let mut crc = flate2::Crc::new();
            crc.update(&named);
            [&be32(body.len())[..], &named, &be32(crc.sum() as usize)].concat()
        };
        let shortened = |kept: usize| {
            let data = chunk(b"IDAT", &bytes[start + 4..start + 4 + kept]);
            [&bytes[..start - 4], &data, &chunk(b"IEND", b"")].concat()
        };
        assert!(read(&shortened(stated)).is_ok(), "{name}");
        check_short(name, (2..stated - 8).map(|kept| (kept, shortened(kept))));
    }
}

#[test]
fn a_gif_whose_data_end_too_soon_is_an_error() {
    for name in ["plain.gif", "interlaced.gif"] {
        let bytes = sample(name);
        // Header, screen and 64 colors, then extensions up to the frame.
        let mut at = 13 + 3 * (2 << (bytes[10] & 7));
        while bytes[at] == 0x21 {
            at += 2;
            while bytes[at] != 0 {
                at += 1 + usize::from(bytes[at]);
            }
            at += 1;
        }
        at += 11;
        let (head, mut codes) = (&bytes[..at], Vec::new());
        while bytes[at] != 0 {
            codes.extend_from_slice(&bytes[at + 1..at + 1 + usize::from(bytes[at])]);
            at += 1 + usize::from(bytes[at]);
        }
        let shortened = |kept: usize| {
            let blocks = codes[..kept].chunks(255).flat_map(|block| [&[block.len() as u8], block].concat());
            [head, &blocks.collect::<Vec<u8>>(), &[0, 0x3b]].concat()
        };
        assert!(read(&shortened(codes.len())).is_ok(), "{name}");
        check_short(name, (1..codes.len() - 3).map(|kept| (kept, shortened(kept))));
    }
}

#[test]
fn a_webp_whose_data_end_too_soon_is_an_error() {
    for (name, chunk) in [("lossy.webp", b"VP8 "), ("lossless.webp", b"VP8L")] {
        let bytes = sample(name);
        let start = bytes.windows(4).position(|found| found == chunk).unwrap() + 8;
        let stated = u32::from_le_bytes(bytes[start - 4..start].try_into().unwrap()) as usize;
        let shortened = |kept: usize| {
            let mut file = [&bytes[..start], &bytes[start..start + kept], &[0][..kept % 2]].concat();
            let riff = (file.len() - 8) as u32;
            file[4..8].copy_from_slice(&riff.to_le_bytes());
            file[start - 4..start].copy_from_slice(&(kept as u32).to_le_bytes());
            file
        };
        assert!(read(&shortened(stated)).is_ok(), "{name}");
        check_short(name, (20..stated - 4).map(|kept| (kept, shortened(kept))));
    }
}

#[test]
fn a_tiff_whose_strip_ends_too_soon_is_an_error() {
    for name in ["raw.tif", "lzw.tif", "deflate.tif", "packbits.tif", "jpeg.tif"] {
        let bytes = sample(name);
        let number = |at: usize, size: usize| {
            bytes[at..at + size].iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte))
        };
        let directory = number(4, 4);
        let entry = (0..number(directory, 2))
            .map(|index| directory + 2 + 12 * index)
            .find(|&at| number(at, 2) == 279)
            .unwrap();
        let size = if number(entry + 2, 2) == 3 { 2 } else { 4 };
        let lengths = number(entry + 8, 4);
        let shortened = |kept: usize| {
            let mut file = bytes.clone();
            file[lengths..lengths + size].copy_from_slice(&kept.to_le_bytes()[..size]);
            file
        };
        check_short(name, (1..number(lengths, size) - 5).map(|kept| (kept, shortened(kept))));
    }
}
