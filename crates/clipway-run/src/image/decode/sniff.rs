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
    #[cfg(feature = "heic")]
    Heic,
    #[cfg(feature = "avif")]
    Avif,
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
            #[cfg(feature = "heic")]
            Self::Heic => "HEIC",
            #[cfg(feature = "avif")]
            Self::Avif => "AVIF",
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

/// Brands of ISO media files whose images are coded by AV1.
const AVIF: [&[u8]; 2] = [b"avif", b"avis"];

/// Brands of ISO media files whose images are coded by HEVC.
const HEVC: [&[u8]; 8] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"];

/// Brands of ISO media files of images that say nothing about how these are coded.
const ANY: [&[u8]; 2] = [b"mif1", b"msf1"];

/// The format of an ISO media file of images, by its brands: the first one, and those that it is compatible with.
fn media(bytes: &[u8]) -> Option<Result<Format, ImageError>> {
    let (size, rest) = bytes.split_first_chunk()?;
    let brands = rest.strip_prefix(b"ftyp")?;
    let first = brands.get(..4)?;
    let length = (u32::from_be_bytes(*size) as usize).saturating_sub(8).min(brands.len());
    // Between them stands a version.
    let further = brands.get(8..length).unwrap_or_default();
    let has = |known: &[&[u8]]| further.chunks_exact(4).any(|brand| known.contains(&brand));
    let is_any = ANY.contains(&first);
    if AVIF.contains(&first) || (is_any && has(&AVIF) && !has(&HEVC)) {
        return Some(avif_format());
    }
    (is_any || HEVC.contains(&first)).then(heic_format)
}

#[cfg(feature = "heic")]
fn heic_format() -> Result<Format, ImageError> {
    Ok(Format::Heic)
}

#[cfg(not(feature = "heic"))]
fn heic_format() -> Result<Format, ImageError> {
    let feature = "this program was built without the feature `heic`".into();
    Err(ImageError::Unsupported { format: "HEIC", feature })
}

#[cfg(feature = "avif")]
fn avif_format() -> Result<Format, ImageError> {
    Ok(Format::Avif)
}

#[cfg(not(feature = "avif"))]
fn avif_format() -> Result<Format, ImageError> {
    Err(without_avif())
}

/// The error of AVIF where it is not built in.
#[cfg(not(feature = "avif"))]
pub(super) fn without_avif() -> ImageError {
    let feature = "this program was built without the feature `avif`".into();
    ImageError::Unsupported { format: "AVIF", feature }
}

/// The error of a file in a known format that is not supported.
fn not_read(format: &'static str) -> ImageError {
    ImageError::Unsupported { format, feature: "this format cannot be read".into() }
}

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
    if let Some(media) = media(bytes) {
        return media;
    }
    if let Some((_, format)) = NOT_READ.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(not_read(format));
    }
    if let [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..] = bytes {
        return Err(not_read("PNM"));
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
