//! The pages of a column in a row group.

use super::footer::Chunk;
use super::inflate::inflate;
use super::refusal::{Refusal, ended_early, malformed};
use super::thrift::{I32, STRUCT, ThriftReader};
use super::{PLAIN, PLAIN_DICTIONARY, RLE};
use crate::error::{Code, FormatError, Place};
use crate::source::{ReadAt, read_range};

/// Most bytes of a page, and most values.
const MOST_BYTES: usize = 256 << 20;
const MOST_VALUES: usize = 1 << 28;

/// Bytes that a header is looked for in, first and at most: it may hold the least and the greatest value.
const FIRST_HEADER: u64 = 4 << 10;
const MOST_HEADER: u64 = 4 << 20;

/// Kinds of pages.
const DATA: i64 = 0;
const INDEX: i64 = 1;
const DICTIONARY: i64 = 2;
const DATA_2: i64 = 3;

/// A page, not compressed any more.
pub(super) struct Page {
    /// Where it begins in the file.
    pub(super) offset: u64,
    pub(super) is_dictionary: bool,
    /// Number of values, nulls included.
    pub(super) values: usize,
    pub(super) encoding: i64,
    pub(super) bytes: Vec<u8>,
    /// Bytes of the levels of repetition and definition, if they come first and without their lengths.
    pub(super) levels: Option<[usize; 2]>,
}

/// Reads the pages of a chunk, one after another.
pub(super) struct Pages<'a> {
    source: &'a dyn ReadAt,
    chunk: Chunk,
    at: u64,
}

impl<'a> Pages<'a> {
    pub(super) fn new(source: &'a dyn ReadAt, chunk: Chunk) -> Pages<'a> {
        Pages { source, chunk, at: chunk.start }
    }

    /// The next page of values or of a dictionary; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Page>, FormatError> {
        while self.at < self.chunk.end {
            let offset = self.at;
            let (header, bytes) = self.header()?;
            let begin = offset + bytes as u64;
            let stored = read_range(self.source, begin, header.stored as u64)?;
            self.at = begin + header.stored as u64;
            let page = header.page(offset, stored, self.chunk.codec);
            if let Some(page) = page.map_err(|refusal| refusal.at(Place::Byte(offset)))? {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// The next header, and its size. The page after it lies within the chunk.
    fn header(&self) -> Result<(Header, usize), FormatError> {
        let left = self.chunk.end - self.at;
        let mut window = FIRST_HEADER;
        loop {
            let bytes = read_range(self.source, self.at, window.min(left))?;
            let refuse = |refusal: Refusal| refusal.at(Place::Byte(self.at));
            match Header::read(&bytes) {
                Ok((header, length)) if (header.stored + length) as u64 <= left => {
                    return Ok((header, length));
                }
                Ok(_) => return Err(refuse(ended_early())),
                Err(error) if window >= left.min(MOST_HEADER) => return Err(refuse(error)),
                Err(_) => window *= 8,
            }
        }
    }
}

/// The header of a page.
#[derive(Default)]
struct Header {
    kind: i64,
    /// Bytes in the file, and bytes when they are not compressed.
    stored: usize,
    inflated: usize,
    checksum: Option<u32>,
    values: usize,
    encoding: i64,
    levels: Option<[usize; 2]>,
    is_stored_plain: bool,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<(Header, usize), Refusal> {
        let mut reader = ThriftReader::new(bytes);
        let (mut header, mut described) = (Header::default(), None);
        let mut kind: Option<i64> = None;
        let [mut stored, mut inflated] = [None; 2];
        reader.structure(|reader, field| {
            match (field.number, field.kind) {
                (1, I32) => kind = Some(reader.integer()?),
                (2, I32) => inflated = Some(size(reader.integer()?, MOST_BYTES)?),
                (3, I32) => stored = Some(size(reader.integer()?, MOST_BYTES)?),
                (4, I32) => header.checksum = Some(reader.integer()? as u32),
                (5, STRUCT) => {
                    header.data(reader)?;
                    described = Some(DATA);
                }
                (7, STRUCT) => {
                    header.dictionary(reader)?;
                    described = Some(DICTIONARY);
                }
                (8, STRUCT) => {
                    header.data_2(reader)?;
                    described = Some(DATA_2);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let (Some(kind), Some(stored), Some(inflated)) = (kind, stored, inflated) else {
            return Err(malformed("a page without its kind or size"));
        };
        if kind != INDEX && described != Some(kind) {
            return Err(malformed("a page whose header is of another kind"));
        }
        Ok((Header { kind, stored, inflated, ..header }, reader.position()))
    }

    fn data(&mut self, reader: &mut ThriftReader<'_>) -> Result<(), Refusal> {
        let mut levels = [RLE; 2];
        reader.structure(|reader, field| {
            match (field.number, field.kind) {
                (1, I32) => self.values = size(reader.integer()?, MOST_VALUES)?,
                (2, I32) => self.encoding = reader.integer()?,
                (3 | 4, I32) => levels[field.number as usize - 3] = reader.integer()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if levels != [RLE; 2] {
            return Err(Refusal::new(Code::Unsupported, "levels in another encoding than RLE"));
        }
        Ok(())
    }

    fn dictionary(&mut self, reader: &mut ThriftReader<'_>) -> Result<(), Refusal> {
        reader.structure(|reader, field| {
            match (field.number, field.kind) {
                (1, I32) => self.values = size(reader.integer()?, MOST_VALUES)?,
                (2, I32) => self.encoding = reader.integer()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if ![PLAIN, PLAIN_DICTIONARY].contains(&self.encoding) {
            return Err(malformed("a dictionary that is encoded"));
        }
        Ok(())
    }

    fn data_2(&mut self, reader: &mut ThriftReader<'_>) -> Result<(), Refusal> {
        let mut lengths = [0; 2];
        reader.structure(|reader, field| {
            match (field.number, field.kind) {
                (1, I32) => self.values = size(reader.integer()?, MOST_VALUES)?,
                (4, I32) => self.encoding = reader.integer()?,
                (5, I32) => lengths[1] = size(reader.integer()?, MOST_BYTES)?,
                (6, I32) => lengths[0] = size(reader.integer()?, MOST_BYTES)?,
                (7, _) => self.is_stored_plain = field.boolean() == Some(false),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        self.levels = Some(lengths);
        Ok(())
    }

    /// The page of the bytes after the header; `None` for a page that has no values.
    fn page(self, offset: u64, stored: Vec<u8>, codec: i64) -> Result<Option<Page>, Refusal> {
        if let Some(expected) = self.checksum
            && crc32fast::hash(&stored) != expected
        {
            let found = crc32fast::hash(&stored);
            let cause = format!("expected the checksum {expected:08x} of the page, found {found:08x}");
            return Err(Refusal::new(Code::Checksum, cause));
        }
        if self.kind == INDEX {
            return Ok(None);
        }
        // The levels of the second version are never compressed.
        let before: usize = self.levels.iter().flatten().sum();
        let (Some((levels, values)), Some(left)) =
            (stored.split_at_checked(before), self.inflated.checked_sub(before))
        else {
            return Err(ended_early());
        };
        let codec = if self.is_stored_plain { 0 } else { codec };
        let inflated = match (values.len(), left) {
            // Some writers compress nothing to nothing.
            (0, 0) => Vec::new(),
            _ => inflate(codec, values, left)?,
        };
        let bytes = if before == 0 { inflated } else { [levels, &inflated].concat() };
        Ok(Some(Page {
            offset,
            is_dictionary: self.kind == DICTIONARY,
            values: self.values,
            encoding: self.encoding,
            bytes,
            levels: self.levels,
        }))
    }
}

fn size(number: i64, limit: usize) -> Result<usize, Refusal> {
    let size = usize::try_from(number).map_err(|_| malformed(format!("the size {number}")))?;
    if size > limit {
        let cause = format!("a page with the size {size}; the limit is {limit}");
        return Err(Refusal::new(Code::TooLarge, cause));
    }
    Ok(size)
}
