//! Thumbnails of indexed images: their files are opened only as the index names them, and shown only as they were indexed.

use clipway_model::input::{self, InputError, Kind};
use clipway_run::image::{DecodeLimits, decode, thumbnail};
use sha2::{Digest, Sha256};

use crate::gallery::{Gallery, GalleryError, GalleryFile};

/// Least and greatest length of a thumbnail's longer side, in pixels.
pub(crate) const SIDES: std::ops::RangeInclusive<usize> = 64..=512;

/// Length of a thumbnail's longer side for requests that do not say it.
pub(crate) const DEFAULT_SIDE: usize = 256;

/// A thumbnail, or that the client has it already.
pub(crate) struct Thumb {
    /// What changes when the thumbnail does.
    pub tag: String,
    /// A PNG file; `None` if the client's tag is the same.
    pub png: Option<Vec<u8>>,
}

/// Makes the thumbnail of a row: of the first of its files that has the bytes that were indexed.
///
/// # Errors
/// [`GalleryError`].
pub(crate) fn thumb(
    gallery: &dyn Gallery,
    row: u64,
    side: usize,
    known: &str,
    limits: &DecodeLimits,
) -> Result<Thumb, GalleryError> {
    let mut reason = "no file has it any more".to_owned();
    let found = gallery.files(row)?.into_iter().find_map(|file| match read(&file) {
        Ok(bytes) => Some((file.hash, bytes)),
        Err(why) => {
            reason = why;
            None
        }
    });
    let Some((hash, bytes)) = found else { return Err(GalleryError::NoImage { row, reason }) };
    let digits: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{digits}-{side}\"");
    if known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag) {
        return Ok(Thumb { tag, png: None });
    }
    let image = decode(&bytes, limits).and_then(|image| thumbnail(&image, side));
    let image = image.map_err(|error| GalleryError::NoImage { row, reason: error.to_string() })?;
    Ok(Thumb { tag, png: Some(image.png()) })
}

/// The bytes of a file, if they are those that were indexed. Reasons name no file.
fn read(file: &GalleryFile) -> Result<Vec<u8>, String> {
    let why = |error: InputError| error.why();
    let source = input::open(&file.path, Kind::Image).map_err(why)?;
    let changed = || "its file has changed since it was indexed".to_owned();
    if clipway_formats::ReadAt::size(&source) != file.size {
        return Err(changed());
    }
    let bytes = source.read_all().map_err(why)?;
    if Sha256::digest(&bytes)[..] == file.hash { Ok(bytes) } else { Err(changed()) }
}
