//! The directory of a TIFF file: tags and their values.

use std::collections::BTreeMap;

use super::super::ImageError;
use super::super::bytes::Reader;

/// Tags by name.
pub(super) mod tag {
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTES: u16 = 279;
    pub const PLANAR: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTES: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
}

/// Location of a tag's values.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Bytes per value; 0 for types that are not integers.
    size: u64,
    count: u64,
    offset: u64,
}

/// The first directory of a file.
pub(super) struct Directory<'a> {
    pub reader: Reader<'a>,
    entries: BTreeMap<u16, Entry>,
}

impl<'a> Directory<'a> {
    /// Reads the tags of the first directory.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] if the file ends before it.
    pub fn open(reader: Reader<'a>) -> Result<Self, ImageError> {
        let big = reader.number(2, 2)? == 43;
        let start = if big { reader.number(8, 8)? } else { reader.number(4, 4)? };
        let (count_size, entry_size, inline) = if big { (8, 20, 8) } else { (2, 12, 4) };
        let count = reader.number(start, count_size)?;
        reader.slice(start.saturating_add(count_size), count.saturating_mul(entry_size))?;
        let mut entries = BTreeMap::new();
        for index in 0..count {
            let at = start + count_size + index * entry_size;
            let size = match reader.number(at + 2, 2)? {
                1 | 6 | 7 => 1,
                3 | 8 => 2,
                4 | 9 | 13 => 4,
                16..=18 => 8,
                _ => 0,
            };
            let value_count = reader.number(at + 4, inline)?;
            let field = at + 4 + inline;
            let fits = value_count.saturating_mul(size) <= inline;
            let offset = if fits { field } else { reader.number(field, inline)? };
            entries.insert(reader.number(at, 2)? as u16, Entry { size, count: value_count, offset });
        }
        Ok(Self { reader, entries })
    }

    /// Returns the bytes of a tag's values; empty if the tag is absent.
    pub fn bytes(&self, tag: u16) -> Result<&'a [u8], ImageError> {
        match self.entries.get(&tag) {
            Some(entry) => self.reader.slice(entry.offset, entry.count.saturating_mul(entry.size)),
            None => Ok(&[]),
        }
    }

    /// Returns a tag's values; empty if the tag is absent.
    pub fn numbers(&self, tag: u16) -> Result<Vec<u64>, ImageError> {
        let Some(entry) = self.entries.get(&tag) else { return Ok(Vec::new()) };
        if entry.size == 0 {
            return Err(self.reader.corrupt(format!("tag {tag} does not contain integers")));
        }
        self.bytes(tag)?;
        (0..entry.count)
            .map(|index| self.reader.number(entry.offset + index * entry.size, entry.size))
            .collect()
    }

    /// Counts a tag's values.
    pub fn count(&self, tag: u16) -> u64 {
        self.entries.get(&tag).map_or(0, |entry| entry.count)
    }

    /// Returns a tag's values if there are at most `most`, the maximum number of samples in a pixel.
    ///
    /// # Errors
    /// [`ImageError::Corrupt`] if there are more.
    pub fn few_numbers(&self, tag: u16, most: u64) -> Result<Vec<u64>, ImageError> {
        let count = self.count(tag);
        if count > most {
            return Err(self.reader.corrupt(format!("tag {tag} has {count} values; the limit is {most}")));
        }
        self.numbers(tag)
    }

    /// Returns a tag's first value.
    pub fn number(&self, tag: u16) -> Result<Option<u64>, ImageError> {
        match self.entries.get(&tag) {
            Some(entry) if entry.count > 0 && entry.size > 0 => {
                self.reader.number(entry.offset, entry.size).map(Some)
            }
            Some(_) => Err(self.reader.corrupt(format!("tag {tag} does not contain an integer"))),
            None => Ok(None),
        }
    }

    /// Returns the colors of `bits`-bit indices: the high bytes of the color map's words.
    pub fn palette(&self, bits: u8) -> Result<Vec<[u8; 3]>, ImageError> {
        let map = self.few_numbers(tag::COLOR_MAP, 3 << 16)?;
        let colors = 1_usize << bits;
        if map.len() != 3 * colors {
            let detail = format!("its color map has {} values, expected {}", map.len(), 3 * colors);
            return Err(self.reader.corrupt(detail));
        }
        let color = |index| [0, 1, 2].map(|channel| (map[channel * colors + index] >> 8) as u8);
        Ok((0..colors).map(color).collect())
    }
}
