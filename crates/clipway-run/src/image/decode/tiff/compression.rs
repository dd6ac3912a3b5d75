//! Compression methods of TIFF data.

use flate2::{Decompress, DecompressError, FlushDecompress, Status};
use libjpeg_turbo_rs as turbo;

use super::super::DecodeLimits;
use super::super::ImageError;
use super::super::bytes::Reader;
use super::super::jpeg::MAX_SCANS;
use super::super::jpeg_layout::{self, ScanBudget};
use super::Meaning;

/// How the data of a strip or tile is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Jpeg,
}

impl Compression {
    pub fn new(code: u64, reader: &Reader<'_>) -> Result<Self, ImageError> {
        Ok(match code {
            1 => Self::None,
            5 => Self::Lzw,
            7 => Self::Jpeg,
            8 | 32946 => Self::Deflate,
            32773 => Self::PackBits,
            other => {
                let name = match other {
                    2..=4 => "fax",
                    6 => "old JPEG",
                    34925 => "LZMA",
                    50000 => "Zstandard",
                    50001 => "WebP",
                    _ => "unknown",
                };
                return Err(reader.unsupported(format!("compression {other} ({name})")));
            }
        })
    }
}

/// Expands the data of strips or tiles, one after the other.
pub(super) struct Expander {
    compression: Compression,
    /// Started only once, since a start costs more than a small strip.
    inflater: Decompress,
}

impl Expander {
    pub fn new(compression: Compression) -> Self {
        Self { compression, inflater: Decompress::new(true) }
    }

    /// Expands data to exactly `length` bytes.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] if the data expands to fewer bytes, [`ImageError::Corrupt`] if it is invalid.
    pub fn expand(&mut self, data: &[u8], length: usize, reader: &Reader<'_>) -> Result<Vec<u8>, ImageError> {
        let mut out = Vec::with_capacity(length);
        match self.compression {
            Compression::None => out.extend_from_slice(&data[..data.len().min(length)]),
            Compression::Deflate => {
                self.inflate(data, length, &mut out).map_err(|error| reader.corrupt(error.to_string()))?;
            }
            Compression::Lzw => lzw(data, length, &mut out).map_err(|detail| reader.corrupt(detail))?,
            Compression::PackBits => pack_bits(data, length, &mut out),
            Compression::Jpeg => return Err(reader.unsupported("JPEG data here")),
        }
        if out.len() < length {
            let detail = format!("a strip or tile expands to {} of {length} bytes", out.len());
            return Err(ImageError::Truncated { format: reader.format, detail });
        }
        Ok(out)
    }

    /// Inflates up to `length` bytes; fewer if the data ends early.
    fn inflate(&mut self, data: &[u8], length: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
        self.inflater.reset(true);
        out.resize(length, 0);
        let mut written = 0;
        let mut rest = data;
        while written < length {
            let before = (self.inflater.total_in(), self.inflater.total_out());
            let status = self.inflater.decompress(rest, &mut out[written..], FlushDecompress::None)?;
            let (read, wrote) = (self.inflater.total_in() - before.0, self.inflater.total_out() - before.1);
            written += wrote as usize;
            rest = &rest[read as usize..];
            if status == Status::StreamEnd || (read, wrote) == (0, 0) {
                break;
            }
        }
        out.truncate(written);
        Ok(())
    }
}

fn lzw(data: &[u8], length: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    out.resize(length, 0);
    let (mut read, mut written) = (0, 0);
    while written < length {
        let result = decoder.decode_bytes(&data[read..], &mut out[written..]);
        read += result.consumed_in;
        written += result.consumed_out;
        match result.status {
            Ok(weezl::LzwStatus::Ok) => {}
            Ok(weezl::LzwStatus::NoProgress | weezl::LzwStatus::Done) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    out.truncate(written);
    Ok(())
}

fn pack_bits(data: &[u8], length: usize, out: &mut Vec<u8>) {
    let mut rest = data;
    while let [count, tail @ ..] = rest
        && out.len() < length
    {
        match *count as i8 {
            -128 => rest = tail,
            count @ 0.. => {
                let (literal, tail) = tail.split_at((count as usize + 1).min(tail.len()));
                out.extend_from_slice(literal);
                rest = tail;
            }
            count => {
                let [value, tail @ ..] = tail else { break };
                out.resize(out.len() + count.unsigned_abs() as usize + 1, *value);
                rest = tail;
            }
        }
    }
    out.truncate(length);
}

/// Pixels of a strip or tile of JPEG data.
pub(super) struct JpegChunk {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

/// Decodes a strip or tile of JPEG data, with tables that may be in the directory.
///
/// YCbCr samples become RGB; others stay as they are stored.
///
/// # Errors
/// [`ImageError::Corrupt`] if the data is invalid or its size differs from the directory's.
pub(super) fn jpeg(
    data: &[u8],
    tables: &[u8],
    meaning: Meaning,
    largest: (usize, usize),
    budget: &mut Option<ScanBudget>,
    reader: &Reader<'_>,
) -> Result<JpegChunk, ImageError> {
    let fail = |error: turbo::JpegError| reader.corrupt(format!("JPEG data: {error}"));
    // Combine the tables without their end marker and the data without its start marker into one stream.
    let joined;
    let stream = match tables.strip_suffix(&[0xff, 0xd9]) {
        Some(tables) if data.starts_with(&[0xff, 0xd8]) => {
            joined = [tables, &data[2..]].concat();
            &joined
        }
        _ => data,
    };
    // A tile may lack its end marker; all its scans have then been counted.
    match jpeg_layout::check(stream, &DecodeLimits { max_pixels: u64::MAX }, budget) {
        Ok(_) | Err(ImageError::Truncated { .. }) => {}
        Err(error @ ImageError::TooMuchWork { .. }) => return Err(error),
        Err(error) => return Err(reader.corrupt(format!("JPEG data: {error}"))),
    }
    let limits = turbo::DecodeLimits {
        max_width: largest.0,
        max_height: largest.1,
        max_scans: MAX_SCANS,
        ..turbo::DecodeLimits::default()
    };
    let mut decoder = turbo::Decoder::new_with_limits(stream, limits).map_err(fail)?;
    let channels = if meaning == Meaning::BlackIsZero { 1 } else { 3 };
    let (width, height) = decoder.header().dimensions();
    if width > largest.0 || height > largest.1 || decoder.header().components.len() != channels {
        return Err(reader.corrupt(format!(
            "JPEG data of {width} x {height} x {}, expected at most {} x {} x {channels}",
            decoder.header().components.len(),
            largest.0,
            largest.1
        )));
    }
    let format = if channels == 1 { turbo::PixelFormat::Grayscale } else { turbo::PixelFormat::Rgb };
    decoder.set_output_format(format);
    if meaning == Meaning::Rgb && decoder.jpeg_color_space() == turbo::ColorSpace::YCbCr {
        // A stream that does not claim to be RGB is treated as YCbCr, which must stay as it is.
        decoder.set_output_colorspace(turbo::ColorSpace::YCbCr);
    }
    let image = decoder.decode_image().map_err(fail)?;
    if image.data.len() != width * height * channels {
        return Err(reader.corrupt("JPEG data with an unexpected layout"));
    }
    Ok(JpegChunk { width, height, data: image.data })
}
