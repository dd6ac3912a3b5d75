//! What the index knows about a file, and how that is stored.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// Most bytes of a path.
pub const MOST_PATH_BYTES: usize = 16 << 10;

/// Most bytes of the reason why a file could not be read; a longer one is cut.
pub const MOST_REASON_BYTES: usize = 1 << 10;

/// Most bytes of a caption; a longer one is cut.
pub const MOST_CAPTION_BYTES: usize = 4 << 10;

/// Bytes of a stored item before its reason or caption.
const FIXED_BYTES: usize = 83;

/// The row of an item without one.
const NO_ROW: u64 = u64::MAX;

/// The date of an image that does not tell it.
const NO_DATE: i64 = i64::MIN;

/// What the index knows about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The row of its feature; `None` if the file could not be read. [`Writer::put`](crate::Writer::put) sets it.
    pub row: Option<u64>,
    /// Why the file could not be read.
    pub unreadable: Option<String>,
    /// Bytes of the file.
    pub size: u64,
    /// When the file was last changed, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// SHA-256 of the file's bytes.
    #[serde(serialize_with = "hexadecimal")]
    pub hash: [u8; 32],
    /// Width as stored, in pixels; 0 if unknown.
    pub width: u32,
    /// Height as stored, in pixels; 0 if unknown.
    pub height: u32,
    /// When the image was taken (EXIF), in seconds since 1970, by the camera's clock.
    pub taken: Option<i64>,
    /// EXIF orientation, 1 to 8; 0 if there is none.
    pub orientation: u8,
    /// When the item was added, in seconds since 1970.
    pub added: i64,
    /// The text beside the image, at most [`MOST_CAPTION_BYTES`]. A file that could not be read has none.
    pub caption: Option<String>,
}

/// Writes bytes as hexadecimal digits.
fn hexadecimal<S: serde::Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

impl Item {
    /// Width and height as the image is shown, by its orientation.
    pub fn shown_size(&self) -> (u32, u32) {
        if self.orientation >= 5 { (self.height, self.width) } else { (self.width, self.height) }
    }

    /// When the image was taken, or else last changed, in seconds since 1970.
    pub fn date(&self) -> i64 {
        self.taken.unwrap_or(self.modified_ns.div_euclid(1_000_000_000))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES);
        bytes.extend(self.row.unwrap_or(NO_ROW).to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(self.modified_ns.to_le_bytes());
        bytes.extend(self.hash);
        bytes.extend(self.width.to_le_bytes());
        bytes.extend(self.height.to_le_bytes());
        bytes.extend(self.taken.unwrap_or(NO_DATE).to_le_bytes());
        bytes.extend(self.added.to_le_bytes());
        bytes.push(self.orientation);
        let reason = self.unreadable.as_deref().map(|reason| cut(reason, MOST_REASON_BYTES));
        let caption = self.caption.as_deref().map(|caption| cut(caption, MOST_CAPTION_BYTES));
        // An item without a row has a reason, and one with a row may have a caption. At most 4096 bytes.
        let text = if self.row.is_none() { reason } else { caption };
        bytes.extend(text.map_or(u16::MAX, |text| text.len() as u16).to_le_bytes());
        bytes.extend(text.unwrap_or_default().as_bytes());
        bytes
    }

    /// Reads a stored item; `None` if the bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Item> {
        let mut fields = Fields(bytes);
        let row = u64::from_le_bytes(fields.take()?);
        let item = Item {
            row: (row != NO_ROW).then_some(row),
            size: u64::from_le_bytes(fields.take()?),
            modified_ns: i64::from_le_bytes(fields.take()?),
            hash: fields.take()?,
            width: u32::from_le_bytes(fields.take()?),
            height: u32::from_le_bytes(fields.take()?),
            taken: Some(i64::from_le_bytes(fields.take()?)).filter(|taken| *taken != NO_DATE),
            added: i64::from_le_bytes(fields.take()?),
            orientation: fields.take::<1>()?[0],
            unreadable: None,
            caption: None,
        };
        let most = if item.row.is_none() { MOST_REASON_BYTES } else { MOST_CAPTION_BYTES };
        let text = match u16::from_le_bytes(fields.take()?) {
            u16::MAX if fields.0.is_empty() => None,
            length if usize::from(length) == fields.0.len() && usize::from(length) <= most => {
                Some(std::str::from_utf8(fields.0).ok()?.to_owned())
            }
            _ => return None,
        };
        match item.row {
            Some(_) => Some(Item { caption: text, ..item }),
            None => text.map(|reason| Item { unreadable: Some(reason), ..item }),
        }
    }
}

/// Fields of fixed length at the start of bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

/// The start of a text, of at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The bytes of a path, as the index stores them; `None` if this system cannot write it down.
#[cfg(unix)]
pub(crate) fn path_bytes(path: &Path) -> Option<&[u8]> {
    use std::os::unix::ffi::OsStrExt;
    Some(path.as_os_str().as_bytes())
}

/// The bytes of a path, as the index stores them; `None` if it is not valid Unicode.
#[cfg(not(unix))]
pub(crate) fn path_bytes(path: &Path) -> Option<&[u8]> {
    path.to_str().map(str::as_bytes)
}

/// The path that stored bytes stand for.
#[cfg(unix)]
pub(crate) fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

/// The path that stored bytes stand for.
#[cfg(not(unix))]
pub(crate) fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable() -> Item {
        Item {
            row: Some(7),
            size: 123,
            modified_ns: -5,
            hash: [9; 32],
            width: 640,
            height: 480,
            taken: Some(1_700_000_000),
            orientation: 6,
            added: 1_800_000_000,
            unreadable: None,
            caption: None,
        }
    }

    #[test]
    fn an_item_is_read_as_it_was_written() {
        let unreadable = Item { row: None, unreadable: Some("kaputt: é".to_owned()), ..Item::default() };
        let captioned = Item { caption: Some("zwei Löwen".to_owned()), ..readable() };
        for item in [readable(), Item { taken: None, ..readable() }, captioned, unreadable] {
            let bytes = item.encode();
            assert_eq!(Item::decode(&bytes), Some(item));
            for length in 0..bytes.len() {
                assert_eq!(Item::decode(&bytes[..length]), None, "{length} bytes");
            }
            assert_eq!(Item::decode(&[bytes.as_slice(), b"x"].concat()), None);
        }
        assert_eq!(readable().encode().len(), FIXED_BYTES);
    }

    #[test]
    fn long_reasons_and_captions_are_cut_between_characters() {
        let item = Item { unreadable: Some("é".repeat(1000)), ..Item::default() };
        let read = Item::decode(&item.encode()).expect("an item");
        assert_eq!(read.unreadable, Some("é".repeat(512)));
        let item = Item { caption: Some(format!("x{}", "é".repeat(4000))), ..readable() };
        let read = Item::decode(&item.encode()).expect("an item");
        assert_eq!(read.caption, Some(format!("x{}", "é".repeat(2047))));
    }

    #[test]
    fn a_turned_image_is_shown_turned() {
        assert_eq!(readable().shown_size(), (480, 640));
        assert_eq!(Item { orientation: 3, ..readable() }.shown_size(), (640, 480));
        assert_eq!(Item { taken: None, ..readable() }.date(), -1);
    }
}
