//! PNG, decoded by the `png` crate into Pillow's modes.

use std::io::{Cursor, ErrorKind};

use png::{BitDepth, ColorType, DecodingError, Limits, Transformations};

use super::{DecodeLimits, ImageError, bits};
use crate::image::{Image, Samples, Transparency, orientation};

const FORMAT: &str = "PNG";

/// Number of chunks of a file, in addition to one per [`BYTES_PER_CHUNK`] bytes: each piece of image data costs the
/// decoder a pass over its window, however short it is. Encoders write pieces of at least 8 KiB.
const FREE_CHUNKS: usize = 1024;
/// See [`FREE_CHUNKS`].
const BYTES_PER_CHUNK: usize = 1024;

/// Memory limit for ancillary chunks.
const CHUNK_BYTES: usize = 16 << 20;

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let (width, height) = header(bytes, limits)?;
    check_chunks(bytes)?;
    // A row of 64-bit pixels and its predecessor belong to the decoder; the image is allocated here.
    let row = width.saturating_mul(16);
    let decoder_limits = Limits { bytes: CHUNK_BYTES.saturating_add(row) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), decoder_limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let stated = decoder.read_header_info().map_err(error)?;
    let (color, stated_depth) = (stated.color_type, stated.bit_depth);
    // 16-bit colors keep the high byte. Reading row by row, the image never exists in full depth.
    let strip = color != ColorType::Grayscale;
    decoder.set_transformations(if strip { Transformations::STRIP_16 } else { Transformations::IDENTITY });
    let mut reader = decoder.read_info().map_err(error)?;
    let size = reader.output_buffer_size().ok_or_else(|| corrupt("its size overflows"))?;
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data).map_err(error)?;
    if (frame.width as usize, frame.height as usize) != (width, height) {
        return Err(corrupt("its first frame is smaller than the image"));
    }
    let info = reader.info();
    let orientation = info.exif_metadata.as_ref().and_then(|exif| orientation::from_exif(exif));
    let palette = info.palette.as_deref();
    let depth = frame.bit_depth as u8;
    let narrow = |data: &[u8]| bits::unpack(data, frame.line_size, width, depth);
    let samples = match (frame.color_type, frame.bit_depth) {
        (ColorType::Grayscale, BitDepth::Sixteen) => Samples::Gray16(words(&data)),
        (ColorType::Grayscale, BitDepth::Eight) => Samples::Gray(data),
        (ColorType::Grayscale, _) => {
            let mut samples = narrow(&data);
            bits::widen(&mut samples, depth);
            if depth == 1 { Samples::Bilevel(samples) } else { Samples::Gray(samples) }
        }
        (ColorType::Indexed, _) => {
            let indices = if depth == 8 { data } else { narrow(&data) };
            let palette = palette.ok_or_else(|| corrupt("it has indices but no palette"))?;
            bits::palette(FORMAT, indices, palette.as_chunks().0)?
        }
        (ColorType::Rgb, _) => Samples::Rgb(data),
        (ColorType::Rgba, _) => Samples::Rgba(data),
        // Pillow has no 16-bit gray with alpha and reads such a file as RGBA.
        (ColorType::GrayscaleAlpha, _) if stated_depth == BitDepth::Sixteen => {
            let pixels = data.as_chunks().0.iter();
            Samples::Rgba(pixels.flat_map(|&[gray, alpha]| [gray, gray, gray, alpha]).collect())
        }
        (ColorType::GrayscaleAlpha, _) => Samples::GrayAlpha(data),
    };
    let transparency = info.trns.as_deref().and_then(|stated| transparency(stated, stated_depth, &samples));
    Ok(Image { width, height, orientation, transparency, samples })
}

/// The contents of a `tRNS` chunk, interpreted as in Pillow: the low byte of a number is compared with the byte that
/// the sample has become, whatever the depth.
fn transparency(stated: &[u8], depth: BitDepth, samples: &Samples) -> Option<Transparency> {
    // The decoder keeps only the low byte of each number, except for 16 bits.
    let low = |channel: usize| {
        let wide = depth == BitDepth::Sixteen;
        stated.get(if wide { 2 * channel + 1 } else { channel }).copied()
    };
    match samples {
        Samples::Palette { .. } => {
            let mut alphas = Box::new([255; 256]);
            for (alpha, &stated) in alphas.iter_mut().zip(stated) {
                *alpha = stated;
            }
            Some(Transparency::Alphas(alphas))
        }
        Samples::Bilevel(_) => Some(Transparency::Color([if low(0)? == 0 { 0 } else { 255 }; 3])),
        Samples::Gray(_) | Samples::Gray16(_) => Some(Transparency::Color([low(0)?; 3])),
        Samples::Rgb(_) => Some(Transparency::Color([low(0)?, low(1)?, low(2)?])),
        _ => None,
    }
}

/// Reads the size from the first chunk and checks it.
fn header(bytes: &[u8], limits: &DecodeLimits) -> Result<(usize, usize), ImageError> {
    let Some(head) = bytes.get(8..24) else {
        return Err(ImageError::Truncated { format: FORMAT, detail: "it ends inside its header".into() });
    };
    if &head[4..8] != b"IHDR" {
        return Err(corrupt("byte 12: its first chunk is not `IHDR`"));
    }
    let number =
        |at: usize| u64::from(u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    limits.check(FORMAT, number(8), number(12))
}

/// Counts the chunks.
fn check_chunks(bytes: &[u8]) -> Result<(), ImageError> {
    let most = FREE_CHUNKS + bytes.len() / BYTES_PER_CHUNK;
    let mut rest = &bytes[8..];
    for _ in 0..most {
        let Some((length, after)) = rest.split_first_chunk() else { return Ok(()) };
        // A type before the data and a checksum after it.
        match after.get(u32::from_be_bytes(*length) as usize + 8..) {
            Some(after) => rest = after,
            None => return Ok(()),
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    let detail = format!("more than {most} chunks in {} bytes", bytes.len());
    Err(ImageError::TooMuchWork { format: FORMAT, detail })
}

fn words(data: &[u8]) -> Vec<u16> {
    data.as_chunks().0.iter().map(|&pair| u16::from_be_bytes(pair)).collect()
}

fn error(error: DecodingError) -> ImageError {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format: FORMAT, detail: "it ends before its last row".into() }
        }
        other => corrupt(other.to_string()),
    }
}

fn corrupt(detail: impl Into<String>) -> ImageError {
    ImageError::Corrupt { format: FORMAT, detail: detail.into() }
}
