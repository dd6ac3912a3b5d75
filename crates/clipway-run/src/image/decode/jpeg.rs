//! JPEG, by the pure-Rust port of libjpeg-turbo, whose bytes are those that Pillow gets.

use libjpeg_turbo_rs as turbo;
use turbo::{ColorSpace, DecodeLimits as TurboLimits, Decoder, JpegError, PixelFormat};

use super::{DecodeLimits, ImageError, jpeg_inks};
use crate::image::{Picture, Samples};

const FORMAT: &str = "JPEG";

/// The most scans of a progressive file; encoders write about ten.
const MAX_SCANS: usize = 500;

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Picture, ImageError> {
    let end = check_markers(bytes, limits)?;
    let turbo_limits =
        TurboLimits { max_pixels: limits.max_pixels, max_scans: MAX_SCANS, ..TurboLimits::default() };
    let mut decoder = Decoder::new_with_limits(&bytes[..end], turbo_limits).map_err(error)?;
    let (precision, components) = (decoder.header().precision, decoder.header().components.len());
    if precision != 8 {
        return Err(unsupported(format!("{precision} bits a sample")));
    }
    let output = match components {
        1 => PixelFormat::Grayscale,
        3 => PixelFormat::Rgb,
        4 => PixelFormat::Cmyk,
        _ => return Err(unsupported(format!("{components} components"))),
    };
    let (width, height) = decoder.header().dimensions();
    let orientation = decoder.exif_orientation();
    let samples = if components == 4 && !jpeg_inks::is_ordinary(decoder.header()) {
        let is_ycck = decoder.jpeg_color_space() == ColorSpace::Ycck;
        let mut data = jpeg_inks::decode(decoder, FORMAT, error)?;
        if is_ycck {
            jpeg_inks::ycck_to_cmyk(&mut data);
        }
        cmyk(data)
    } else {
        decoder.set_output_format(output);
        let image = decoder.decode_image().map_err(error)?;
        if image.pixel_format != output || image.data.len() != width * height * output.bytes_per_pixel() {
            return Err(corrupt("the decoder gave another layout than asked for"));
        }
        match output {
            PixelFormat::Grayscale => Samples::Gray(image.data),
            PixelFormat::Rgb => Samples::Rgb(image.data),
            _ => cmyk(image.data),
        }
    };
    Ok(Picture { width, height, orientation, transparency: None, samples })
}

/// Makes ink of stored values: Adobe's files hold light instead, and Pillow takes every file for one of those.
fn cmyk(mut data: Vec<u8>) -> Samples {
    data.iter_mut().for_each(|value| *value = 255 - *value);
    Samples::Cmyk(data)
}

/// Walks the markers from the first to the end of the image and returns where that is.
///
/// The decoder would fill what is missing at the end of a progressive file; this finds it missing. The size is
/// checked here as well, before anything is allocated.
fn check_markers(bytes: &[u8], limits: &DecodeLimits) -> Result<usize, ImageError> {
    let cut = |at: usize| ImageError::Truncated {
        format: FORMAT,
        detail: format!("the file ends at byte {at} before its end marker"),
    };
    let (mut at, mut frames, mut scans) = (2, 0, 0);
    loop {
        // Bytes that belong to no segment are skipped, as libjpeg does.
        let Some(skipped) = memchr::memchr(0xff, &bytes[at..]) else {
            return Err(cut(bytes.len()));
        };
        at += skipped + 1;
        let Some(&marker) = bytes.get(at) else { return Err(cut(bytes.len())) };
        match marker {
            0xff => continue,
            0x00 | 0x01 | 0xd0..=0xd8 => at += 1,
            0xd9 if scans == 0 => return Err(corrupt(format!("byte {at}: it ends without a scan"))),
            0xd9 => return Ok(at + 1),
            _ => {
                let length = bytes.get(at + 1..at + 3).ok_or_else(|| cut(bytes.len()))?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                if length < 2 {
                    return Err(corrupt(format!("byte {at}: a segment's length is {length}")));
                }
                let body = bytes.get(at + 3..at + 1 + length).ok_or_else(|| cut(bytes.len()))?;
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    check_frame(marker, body, limits)?;
                    frames += 1;
                }
                if marker == 0xda {
                    if frames == 0 {
                        return Err(corrupt(format!("byte {at}: a scan comes before the frame's header")));
                    }
                    scans += 1;
                }
                at += 1 + length;
            }
        }
    }
}

/// Checks a frame's header: kind, precision and size.
fn check_frame(marker: u8, body: &[u8], limits: &DecodeLimits) -> Result<(), ImageError> {
    if !matches!(marker, 0xc0..=0xc2 | 0xc9 | 0xca) {
        return Err(unsupported(format!("frames of kind SOF{}", marker & 0x0f)));
    }
    let &[precision, height_high, height_low, width_high, width_low, ..] = body else {
        return Err(corrupt("the frame's header is too short"));
    };
    if precision != 8 {
        return Err(unsupported(format!("{precision} bits a sample")));
    }
    let height = u16::from_be_bytes([height_high, height_low]);
    let width = u16::from_be_bytes([width_high, width_low]);
    limits.check(FORMAT, width.into(), height.into()).map(|_| ())
}

fn error(error: JpegError) -> ImageError {
    match error {
        JpegError::UnexpectedEof => {
            ImageError::Truncated { format: FORMAT, detail: "a scan ends before its last block".into() }
        }
        JpegError::Unsupported(feature) => unsupported(feature),
        JpegError::LimitExceeded { what, actual, limit } => {
            unsupported(format!("{what} {actual}, more than {limit}"))
        }
        other => corrupt(other.to_string()),
    }
}

fn corrupt(detail: impl Into<String>) -> ImageError {
    ImageError::Corrupt { format: FORMAT, detail: detail.into() }
}

fn unsupported(feature: String) -> ImageError {
    ImageError::Unsupported { format: FORMAT, feature }
}
