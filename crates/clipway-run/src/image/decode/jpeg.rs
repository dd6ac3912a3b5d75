//! JPEG, decoded by the pure-Rust port of libjpeg-turbo, with the same bytes as Pillow.

use libjpeg_turbo_rs as turbo;
use turbo::{ColorSpace, DecodeLimits as TurboLimits, Decoder, JpegError, PixelFormat};

use super::{DecodeLimits, ImageError, jpeg_inks, jpeg_layout};
use crate::image::{Image, Samples};

const FORMAT: &str = "JPEG";

/// Maximum number of scans in a progressive file; encoders write about ten.
pub(super) const MAX_SCANS: usize = 500;

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let end = jpeg_layout::check(bytes, limits, &mut None)?;
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
            return Err(corrupt("the decoder returned an unexpected layout"));
        }
        match output {
            PixelFormat::Grayscale => Samples::Gray(image.data),
            PixelFormat::Rgb => Samples::Rgb(image.data),
            _ => cmyk(image.data),
        }
    };
    Ok(Image { width, height, orientation, transparency: None, samples })
}

/// Inverts stored values to ink: Adobe's files store light instead, and Pillow assumes that every file does.
fn cmyk(mut data: Vec<u8>) -> Samples {
    data.iter_mut().for_each(|value| *value = 255 - *value);
    Samples::Cmyk(data)
}

fn error(error: JpegError) -> ImageError {
    match error {
        JpegError::UnexpectedEof => {
            ImageError::Truncated { format: FORMAT, detail: "a scan ends before its last block".into() }
        }
        JpegError::Unsupported(feature) => unsupported(feature),
        JpegError::LimitExceeded { what, actual, limit } => {
            unsupported(format!("{what} {actual} is over the limit of {limit}"))
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
