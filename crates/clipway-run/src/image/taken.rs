//! When an image was taken.

#[cfg(feature = "heic")]
use super::decode::heic_exif;
use super::exif::{Exif, exif_of};

/// When an image was taken, by the EXIF data in its file, in seconds since 1970 by the camera's clock; `None` if the file
/// does not say so. JPEG, PNG, WebP, TIFF and, with the features `heic` and `avif`,
/// HEIC and AVIF can.
pub fn date_taken(file: &[u8]) -> Option<i64> {
    #[cfg(feature = "heic")]
    if file.get(4..8) == Some(b"ftyp") {
        return Exif::new(heic_exif(file)?)?.taken();
    }
    Exif::new(exif_of(file)?)?.taken()
}
