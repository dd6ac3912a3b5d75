//! Detects a format from its first bytes.

use super::ImageError;

/// A supported format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    Gif,
    Bmp,
    Tiff,
    WebP,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::WebP => "WebP",
        }
    }
}

/// First bytes of the supported formats.
const READ: &[(&[u8], Format)] = &[
    (b"\xff\xd8\xff", Format::Jpeg),
    (b"\x89PNG\r\n\x1a\n", Format::Png),
    (b"GIF87a", Format::Gif),
    (b"GIF89a", Format::Gif),
    (b"BM", Format::Bmp),
    (b"II*\0", Format::Tiff),
    (b"MM\0*", Format::Tiff),
    (b"II+\0", Format::Tiff),
    (b"MM\0+", Format::Tiff),
];

/// First bytes of unsupported image formats.
const NOT_READ: &[(&[u8], &str)] = &[
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\x01\0", "ICO"),
    (b"DDS ", "DDS"),
    (b"v/1\x01", "OpenEXR"),
    (b"qoif", "QOI"),
    (b"#?RADIANCE", "Radiance HDR"),
];

/// Brands of ISO media files that are images.
const BRANDS: &[(&[u8], &str)] = &[
    (b"avif", "AVIF"),
    (b"avis", "AVIF"),
    (b"heic", "HEIC"),
    (b"heix", "HEIC"),
    (b"heim", "HEIC"),
    (b"hevc", "HEIC"),
    (b"mif1", "HEIF"),
    (b"msf1", "HEIF"),
];

/// Detects the format of a file.
///
/// # Errors
/// [`ImageError::Unsupported`] for a known but unsupported kind of image, [`ImageError::NotAnImage`] for anything else.
pub(super) fn sniff(bytes: &[u8]) -> Result<Format, ImageError> {
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Ok(Format::WebP);
    }
    if let Some((_, format)) = READ.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Ok(*format);
    }
    let brand = if bytes.get(4..8) == Some(b"ftyp") { bytes.get(8..12) } else { None };
    let known = NOT_READ
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .or_else(|| BRANDS.iter().find(|(name, _)| brand == Some(*name)));
    if let Some((_, format)) = known {
        return Err(ImageError::Unsupported { format, feature: "this format cannot be read".into() });
    }
    if let [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..] = bytes {
        return Err(ImageError::Unsupported { format: "PNM", feature: "this format cannot be read".into() });
    }
    Err(ImageError::NotAnImage { found: describe(bytes) })
}

/// Describes bytes that are not an image.
fn describe(bytes: &[u8]) -> String {
    let Some(head) = bytes.get(..bytes.len().min(256)).filter(|head| !head.is_empty()) else {
        return "the file is empty".into();
    };
    if head.starts_with(b"%PDF") {
        return "it is a PDF document".into();
    }
    if let Ok(text) = std::str::from_utf8(head) {
        let text = text.trim_start();
        if text.starts_with("<svg") || (text.starts_with("<?xml") || text.starts_with("<!DOCTYPE svg")) {
            return "it is XML, perhaps SVG, which has no pixels".into();
        }
        if text.starts_with('<') {
            return "it is HTML or XML".into();
        }
        return "it is text".into();
    }
    let shown: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("it begins with the bytes {}", shown.join(" "))
}
