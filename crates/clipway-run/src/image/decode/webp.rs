//! WebP, decoded by the `image-webp` crate.

use std::io::{Cursor, ErrorKind};

use image_webp::{DecodingError, WebPDecoder};

use super::{DecodeLimits, ImageError, webp_layout};
use crate::image::{Image, Samples, orientation};

const FORMAT: &str = "WebP";

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let stated = bytes.get(4..8).map_or(0, |size| u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
    let expected = u64::from(stated) + 8;
    if expected > bytes.len() as u64 {
        let detail = format!("it has {} bytes of {expected}", bytes.len());
        return Err(ImageError::Truncated { format: FORMAT, detail });
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(error)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = limits.check(FORMAT, width.into(), height.into())?;
    webp_layout::check(bytes)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut data = vec![0; width * height * channels];
    if decoder.is_animated() {
        decoder.read_frame(&mut data).map_err(error)?;
    } else {
        decoder.read_image(&mut data).map_err(error)?;
    }
    let exif = decoder.exif_metadata().map_err(error)?;
    let orientation = exif.and_then(|exif| orientation::from_exif(&exif));
    let samples = if channels == 4 { Samples::Rgba(data) } else { Samples::Rgb(data) };
    Ok(Image { width, height, orientation, transparency: None, samples })
}

fn error(error: DecodingError) -> ImageError {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format: FORMAT, detail: "it ends inside its image".into() }
        }
        other => ImageError::Corrupt { format: FORMAT, detail: other.to_string() },
    }
}
