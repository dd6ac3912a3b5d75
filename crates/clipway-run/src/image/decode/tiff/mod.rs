//! TIFF: the first directory of a classic TIFF or BigTIFF file, in strips or tiles.
//!
//! This is our own reader: the modes that Pillow keeps (1-bit, palette, associated alpha, CMYK, 16-bit, integers,
//! floats) need the stored samples before any conversion. Uncompressed, LZW, Deflate, PackBits and JPEG data are
//! supported; fax, LZMA, Zstandard and WebP data are not.

mod chunks;
mod compression;
mod directory;

use super::bytes::Reader;
use super::{DecodeLimits, ImageError, bits};
use crate::image::{Image, Samples, orientation};
use chunks::Planes;
use directory::{Directory, tag};

const FORMAT: &str = "TIFF";

/// Maximum number of values in a tag that states one per sample of a pixel.
const MOST_SAMPLE_VALUES: u64 = 16;

/// How samples are interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

/// Number format of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberKind {
    Unsigned,
    Signed,
    Real,
}

/// Meaning of the samples after the color; only the first one matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extra {
    None,
    Unspecified,
    AssociatedAlpha,
    UnassociatedAlpha,
}

/// What the directory states about the pixels.
#[derive(Debug)]
struct Layout {
    width: usize,
    height: usize,
    meaning: Meaning,
    kind: NumberKind,
    extra: Extra,
    bits: u8,
    /// Number of samples per pixel, including extra ones.
    samples: usize,
    planar: bool,
    predictor: bool,
    compression: compression::Compression,
}

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let reader = Reader { bytes, format: FORMAT, little_endian: bytes.starts_with(b"II") };
    let directory = Directory::open(reader)?;
    let layout = layout(&directory, limits)?;
    // Without pixels, so that whatever no mode can represent is refused before anything is expanded.
    samples(&directory, &layout, chunks::none_of(&layout))?;
    let planes = chunks::read(&directory, &layout)?;
    let samples = samples(&directory, &layout, planes)?;
    let orientation = directory.number(tag::ORIENTATION)?.and_then(|value| u8::try_from(value).ok());
    let image =
        Image { width: layout.width, height: layout.height, orientation, transparency: None, samples };
    // Unlike for every other format, Pillow applies a TIFF's orientation when it loads the file.
    Ok(match orientation {
        Some(2..=8) => orientation::upright(&image),
        _ => Image { orientation: None, ..image },
    })
}

fn layout(directory: &Directory<'_>, limits: &DecodeLimits) -> Result<Layout, ImageError> {
    let reader = &directory.reader;
    let side = |tag, name: &str| {
        directory.number(tag)?.ok_or_else(|| reader.corrupt(format!("its directory states no {name}")))
    };
    let (width, height) = limits.check(FORMAT, side(tag::WIDTH, "width")?, side(tag::HEIGHT, "height")?)?;
    let number = |tag, absent| directory.number(tag).map(|value| value.unwrap_or(absent));

    let compression = compression::Compression::new(number(tag::COMPRESSION, 1)?, reader)?;
    let meaning = match number(tag::PHOTOMETRIC, 0)? {
        0 => Meaning::WhiteIsZero,
        1 => Meaning::BlackIsZero,
        2 => Meaning::Rgb,
        3 => Meaning::Palette,
        5 => Meaning::Cmyk,
        6 => Meaning::YCbCr,
        other => return Err(reader.unsupported(format!("photometric interpretation {other}"))),
    };
    if number(tag::FILL_ORDER, 1)? != 1 {
        return Err(reader.unsupported("bytes with their bits reversed"));
    }
    let samples = number(tag::SAMPLES, 1)?;
    if !(1..=6).contains(&samples) {
        return Err(reader.unsupported(format!("{samples} samples a pixel")));
    }
    let same = |tag, absent: u64, name: &str| {
        let values = directory.few_numbers(tag, MOST_SAMPLE_VALUES)?;
        let first = values.first().copied().unwrap_or(absent);
        if values.iter().any(|&value| value != first) {
            return Err(reader.unsupported(format!("{name} that differs between samples: {values:?}")));
        }
        Ok(first)
    };
    let bits = same(tag::BITS, 1, "a depth")?;
    if ![1, 2, 4, 8, 16, 32].contains(&bits) {
        return Err(reader.unsupported(format!("{bits} bits a sample")));
    }
    let kind = match same(tag::SAMPLE_FORMAT, 1, "a sample format")? {
        1 => NumberKind::Unsigned,
        2 => NumberKind::Signed,
        3 => NumberKind::Real,
        other => return Err(reader.unsupported(format!("sample format {other}"))),
    };
    let planar = match number(tag::PLANAR, 1)? {
        1 => false,
        2 => true,
        other => return Err(reader.unsupported(format!("planar configuration {other}"))),
    };
    let predictor = match number(tag::PREDICTOR, 1)? {
        1 => false,
        2 => true,
        other => return Err(reader.unsupported(format!("predictor {other}"))),
    };
    let color = match meaning {
        Meaning::WhiteIsZero | Meaning::BlackIsZero | Meaning::Palette => 1,
        Meaning::Rgb | Meaning::YCbCr => 3,
        Meaning::Cmyk => 4,
    };
    if samples < color {
        return Err(reader.corrupt(format!("it has {samples} samples a pixel, its colors need {color}")));
    }
    let extra = extra(directory, samples - color, meaning)?;
    let samples = samples as usize;
    let bits = bits as u8;
    Ok(Layout { width, height, meaning, kind, extra, bits, samples, planar, predictor, compression })
}

/// Reads the meaning of the `count` samples after the color.
fn extra(directory: &Directory<'_>, count: u64, meaning: Meaning) -> Result<Extra, ImageError> {
    let stated = directory.few_numbers(tag::EXTRA_SAMPLES, MOST_SAMPLE_VALUES)?;
    let reader = &directory.reader;
    if stated.iter().skip(1).any(|&value| value != 0) {
        return Err(reader.unsupported(format!("extra samples {stated:?}")));
    }
    match (count, stated.first()) {
        (0, _) => Ok(Extra::None),
        (_, Some(0)) => Ok(Extra::Unspecified),
        (_, Some(1)) => Ok(Extra::AssociatedAlpha),
        (_, Some(2 | 999)) => Ok(Extra::UnassociatedAlpha),
        (1, None) if meaning == Meaning::Rgb => Ok(Extra::UnassociatedAlpha),
        (_, found) => Err(reader.unsupported(format!("{count} extra samples of kind {found:?}"))),
    }
}

/// Turns the stored samples into those of the mode that Pillow uses for the file.
fn samples(directory: &Directory<'_>, layout: &Layout, planes: Planes) -> Result<Samples, ImageError> {
    let reader = &directory.reader;
    let unknown = || {
        let Layout { meaning, kind, extra, bits, samples, .. } = layout;
        let text = format!("{meaning:?} with {samples} samples of {bits} bits, {kind:?}, extra {extra:?}");
        Err(reader.unsupported(text))
    };
    let gray = matches!(layout.meaning, Meaning::WhiteIsZero | Meaning::BlackIsZero);
    let inverted = layout.meaning == Meaning::WhiteIsZero;
    match planes {
        Planes::Rgb(data) => Ok(Samples::Rgb(data)),
        Planes::Stored(data) if layout.bits <= 8 && layout.kind != NumberKind::Real => {
            if gray && layout.extra == Extra::None && (layout.kind == NumberKind::Unsigned || !inverted) {
                let mut data = data;
                bits::widen(&mut data, layout.bits);
                if inverted {
                    data.iter_mut().for_each(|value| *value = 255 - *value);
                }
                return Ok(if layout.bits == 1 { Samples::Bilevel(data) } else { Samples::Gray(data) });
            }
            if layout.kind != NumberKind::Unsigned {
                return unknown();
            }
            if layout.meaning == Meaning::Palette && matches!(layout.extra, Extra::None | Extra::Unspecified)
            {
                let palette = directory.palette(layout.bits)?;
                return bits::palette(FORMAT, keep(&data, layout.samples, 1), &palette);
            }
            if layout.bits == 8 { colors(layout, &data).map_or_else(unknown, Ok) } else { unknown() }
        }
        Planes::Stored(data) if layout.bits == 16 => {
            let words = words(reader, &data);
            match (layout.kind, gray && layout.samples == 1) {
                (NumberKind::Unsigned, true) if reader.little_endian => Ok(Samples::Gray16(words)),
                (NumberKind::Unsigned, true) if !inverted => {
                    Ok(Samples::Gray16Swapped(words.iter().map(|word| word.swap_bytes()).collect()))
                }
                (NumberKind::Signed, true) if !inverted => {
                    Ok(Samples::Integer(words.iter().map(|&word| i32::from(word as i16)).collect()))
                }
                (NumberKind::Unsigned, false) => {
                    colors(layout, &bits::high_bytes(&words)).filter(|_| !gray).map_or_else(unknown, Ok)
                }
                _ => unknown(),
            }
        }
        Planes::Stored(data) if layout.bits == 32 && gray && layout.samples == 1 => {
            let values = data.as_chunks().0.iter().map(|&value| {
                if reader.little_endian { u32::from_le_bytes(value) } else { u32::from_be_bytes(value) }
            });
            match layout.kind {
                NumberKind::Real => Ok(Samples::Real(values.map(f32::from_bits).collect())),
                NumberKind::Unsigned if inverted || !reader.little_endian => unknown(),
                NumberKind::Signed if inverted => unknown(),
                _ => Ok(Samples::Integer(values.map(|value| value as i32).collect())),
            }
        }
        Planes::Stored(_) => unknown(),
    }
}

/// Turns bytes into colors with or without alpha.
fn colors(layout: &Layout, data: &[u8]) -> Option<Samples> {
    let keep = |count| keep(data, layout.samples, count);
    match (layout.meaning, layout.extra) {
        (Meaning::BlackIsZero, Extra::Unspecified) => Some(Samples::Gray(keep(1))),
        (Meaning::BlackIsZero, Extra::UnassociatedAlpha) => Some(Samples::GrayAlpha(keep(2))),
        (Meaning::Rgb, Extra::None | Extra::Unspecified) => Some(Samples::Rgb(keep(3))),
        (Meaning::Rgb, Extra::UnassociatedAlpha) => Some(Samples::Rgba(keep(4))),
        (Meaning::Rgb, Extra::AssociatedAlpha) => {
            let mut pixels = keep(4);
            for [colors @ .., alpha] in pixels.as_chunks_mut::<4>().0 {
                for value in colors {
                    *value = match *alpha {
                        0 => 0,
                        alpha => (u32::from(*value) * 255 / u32::from(alpha)).min(255) as u8,
                    };
                }
            }
            Some(Samples::Rgba(pixels))
        }
        (Meaning::Cmyk, Extra::None | Extra::Unspecified) => Some(Samples::Cmyk(keep(4))),
        _ => None,
    }
}

/// Keeps the first `count` of each pixel's `samples` samples.
fn keep(data: &[u8], samples: usize, count: usize) -> Vec<u8> {
    if samples == count {
        return data.to_vec();
    }
    data.chunks_exact(samples).flat_map(|pixel| &pixel[..count]).copied().collect()
}

fn words(reader: &Reader<'_>, data: &[u8]) -> Vec<u16> {
    let read = if reader.little_endian { u16::from_le_bytes } else { u16::from_be_bytes };
    data.as_chunks().0.iter().map(|&pair| read(pair)).collect()
}
