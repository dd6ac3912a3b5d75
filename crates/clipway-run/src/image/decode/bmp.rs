//! BMP, decoded into Pillow's modes.

use super::bytes::Reader;
use super::{DecodeLimits, ImageError, bits};
use crate::image::{Image, Samples};

const FORMAT: &str = "BMP";

/// Where the file's own header ends and the image's begins.
const FILE_HEADER: u64 = 14;

/// What the headers say.
struct Header {
    width: usize,
    height: usize,
    top_down: bool,
    bits: u8,
    compression: Compression,
    colors: u64,
    /// Number of bytes per palette color.
    color_bytes: u64,
    palette_offset: u64,
    pixel_offset: u64,
    /// Bit masks of red, green, blue and alpha in a pixel.
    masks: [u32; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    RunLength8,
    RunLength4,
    Masks,
}

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let reader = Reader { bytes, format: FORMAT, little_endian: true };
    let header = header(&reader, limits)?;
    let samples = match (header.compression, header.bits) {
        (Compression::RunLength4 | Compression::RunLength8, 4 | 8) => {
            indexed(&reader, &header, upright(&header, run_lengths(&reader, &header)?, header.width))?
        }
        (Compression::None, 1 | 4 | 8) => {
            let rows = rows(&reader, &header)?;
            let indices = bits::unpack(&rows, row_bytes(&header), header.width, header.bits);
            indexed(&reader, &header, indices)?
        }
        (Compression::None | Compression::Masks, 16 | 24 | 32) => direct(&reader, &header)?,
        (compression, bits) => {
            return Err(reader.unsupported(format!("{bits} bits a pixel with compression {compression:?}")));
        }
    };
    Ok(Image { width: header.width, height: header.height, orientation: None, transparency: None, samples })
}

fn header(reader: &Reader<'_>, limits: &DecodeLimits) -> Result<Header, ImageError> {
    let stated_offset = reader.number(10, 4)?;
    let size = reader.number(FILE_HEADER, 4)?;
    let field = |offset: u64, length: u64| reader.number(FILE_HEADER + offset, length);
    let (width, signed_height, bits, compression, mut colors, color_bytes) = match size {
        12 => (field(4, 2)?, field(6, 2)? as i64, field(10, 2)?, 0, 0, 3),
        40 | 52 | 56 | 64 | 108 | 124 => {
            let height = i64::from(field(8, 4)? as u32 as i32);
            (field(4, 4)?, height, field(14, 2)?, field(16, 4)?, field(32, 4)?, 4)
        }
        _ => return Err(reader.unsupported(format!("a header of {size} bytes"))),
    };
    if size > 12 && width > i32::MAX as u64 {
        return Err(reader.corrupt(format!("byte 18: its width is {}", width as u32 as i32)));
    }
    let (width, height) = limits.check(FORMAT, width, signed_height.unsigned_abs())?;
    let bits = u8::try_from(bits).unwrap_or(u8::MAX);
    let compression = match compression {
        0 => Compression::None,
        1 => Compression::RunLength8,
        2 => Compression::RunLength4,
        3 => Compression::Masks,
        other => return Err(reader.unsupported(format!("compression {other}"))),
    };
    if colors == 0 && bits <= 8 {
        colors = 1 << bits;
    }
    let mut palette_offset = FILE_HEADER + size;
    let mut masks = default_masks(bits);
    if compression == Compression::Masks {
        // With the shortest header, the masks follow it, and there is none for alpha.
        let with_alpha = size >= 56;
        for (index, mask) in masks.iter_mut().enumerate() {
            let stated = index < 3 || with_alpha;
            *mask = if stated { field(40 + 4 * index as u64, 4)? as u32 } else { 0 };
        }
        if size == 40 {
            palette_offset += 12;
        }
        if masks == [0; 4] {
            masks = [0xff_0000, 0xff00, 0xff, 0xff00_0000];
        }
    }
    let mut pixel_offset = stated_offset;
    if bits <= 8 && stated_offset == FILE_HEADER + size {
        pixel_offset += color_bytes * colors;
    }
    if pixel_offset == 0 {
        pixel_offset = palette_offset + if bits <= 8 { color_bytes * colors } else { 0 };
    }
    Ok(Header {
        width,
        height,
        top_down: signed_height < 0,
        bits,
        compression,
        colors,
        color_bytes,
        palette_offset,
        pixel_offset,
        masks,
    })
}

/// The default masks, for files that state none.
fn default_masks(bits: u8) -> [u32; 4] {
    match bits {
        16 => [0x7c00, 0x3e0, 0x1f, 0],
        _ => [0xff_0000, 0xff00, 0xff, 0],
    }
}

/// Number of bytes in a row, which is padded to 32 bits.
fn row_bytes(header: &Header) -> usize {
    (header.width * usize::from(header.bits)).div_ceil(32) * 4
}

/// Gives the stored rows from the top down.
fn rows(reader: &Reader<'_>, header: &Header) -> Result<Vec<u8>, ImageError> {
    let stride = row_bytes(header);
    // Some writers omit the padding of the last row.
    let last = (header.width * usize::from(header.bits)).div_ceil(8);
    let needed = (stride * (header.height - 1) + last) as u64;
    let mut rows = reader.slice(header.pixel_offset, needed)?.to_vec();
    rows.resize(stride * header.height, 0);
    Ok(upright(header, rows, stride))
}

/// Reverses rows that are stored bottom-up.
fn upright(header: &Header, rows: Vec<u8>, stride: usize) -> Vec<u8> {
    if header.top_down { rows } else { rows.chunks_exact(stride).rev().flatten().copied().collect() }
}

/// Applies a palette to indices; a palette of grays in order makes a gray image, as in Pillow.
fn indexed(reader: &Reader<'_>, header: &Header, indices: Vec<u8>) -> Result<Samples, ImageError> {
    if header.colors > 65536 {
        return Err(reader.unsupported(format!("a palette of {} colors", header.colors)));
    }
    let bytes = reader.slice(header.palette_offset, header.color_bytes * header.colors)?;
    let palette: Vec<[u8; 3]> =
        bytes.chunks_exact(header.color_bytes as usize).map(|color| [color[2], color[1], color[0]]).collect();
    let gray_of = |index: usize| if palette.len() == 2 { index * 255 } else { index };
    let gray = palette
        .iter()
        .enumerate()
        .all(|(index, color)| color.iter().all(|&value| usize::from(value) == gray_of(index)));
    if gray && palette.len() <= 2 {
        if indices.iter().any(|&index| usize::from(index) >= palette.len()) {
            return bits::palette(FORMAT, indices, &palette);
        }
        return Ok(Samples::Bilevel(indices.iter().map(|&index| index * 255).collect()));
    }
    if gray { Ok(Samples::Gray(indices)) } else { bits::palette(FORMAT, indices, &palette) }
}

/// Reads pixels that store their color directly.
fn direct(reader: &Reader<'_>, header: &Header) -> Result<Samples, ImageError> {
    let rows = rows(reader, header)?;
    let size = usize::from(header.bits / 8);
    let supported = match header.bits {
        16 => matches!(header.masks, [0x7c00, 0x3e0, 0x1f, _] | [0xf800, 0x7e0, 0x1f, _]),
        bits => {
            let byte_wide = |mask: &u32| (0..bits / 8).any(|byte| *mask == 0xff << (8 * byte));
            header.masks[..3].iter().all(byte_wide) && (header.masks[3] == 0 || byte_wide(&header.masks[3]))
        }
    };
    if !supported {
        return Err(reader.unsupported(format!("the color masks {:x?}", header.masks)));
    }
    let with_alpha = header.bits == 32 && header.masks[3] != 0;
    let used = if with_alpha { 4 } else { 3 };
    let masks = &header.masks[..used];
    let mut out = Vec::with_capacity(header.width * header.height * used);
    for row in rows.chunks_exact(row_bytes(header)) {
        for pixel in row.chunks_exact(size).take(header.width) {
            let value = pixel.iter().rev().fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
            out.extend(masks.iter().map(|&mask| {
                let shift = mask.trailing_zeros();
                ((value & mask) >> shift) * 255 / (mask >> shift)
            } as u8));
        }
    }
    Ok(if with_alpha { Samples::Rgba(out) } else { Samples::Rgb(out) })
}

/// Expands run lengths to one index per pixel, in stored order.
///
/// Pixels that a file skips have index 0. A file that ends before its last pixel is an error, as in Pillow.
fn run_lengths(reader: &Reader<'_>, header: &Header) -> Result<Vec<u8>, ImageError> {
    let wanted = header.width * header.height;
    let four_bits = header.compression == Compression::RunLength4;
    let mut out: Vec<u8> = Vec::with_capacity(wanted);
    let mut at = header.pixel_offset;
    let mut x = 0;
    while out.len() < wanted {
        let (count, value) = (reader.number(at, 1)? as usize, reader.number(at + 1, 1)? as u8);
        at += 2;
        match (count, value) {
            (0, 0) => {
                out.resize(out.len().next_multiple_of(header.width), 0);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                let (right, up) = (reader.number(at, 1)? as usize, reader.number(at + 1, 1)? as usize);
                at += 2;
                out.resize((out.len() + right + up * header.width).min(wanted), 0);
                x = out.len() % header.width;
            }
            (0, count) => {
                let count = usize::from(count).min(wanted - out.len());
                let stored = if four_bits { count.div_ceil(2) } else { count };
                let bytes = reader.slice(at, stored as u64)?;
                at += stored as u64;
                if four_bits {
                    out.extend(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(count));
                } else {
                    out.extend_from_slice(bytes);
                }
                x += usize::from(value);
                at = at.next_multiple_of(2);
            }
            (count, value) => {
                let count = count.min(header.width.saturating_sub(x));
                let pair = if four_bits { [value >> 4, value & 15] } else { [value; 2] };
                out.extend(pair.iter().cycle().take(count));
                x += count;
            }
        }
    }
    if out.len() < wanted {
        let detail = format!("its run lengths cover {} of {wanted} pixels", out.len());
        return Err(ImageError::Truncated { format: FORMAT, detail });
    }
    out.truncate(wanted);
    Ok(out)
}
