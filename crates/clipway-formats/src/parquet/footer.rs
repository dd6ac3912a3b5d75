//! The description of a table, which is at the end of its file.

use super::MAGIC;
use super::refusal::{Refusal, malformed};
use super::schema::{self, Leaf};
use super::thrift::{BINARY, I32, I64, LIST, STRUCT, ThriftReader};
use crate::error::{Code, FormatError, Place};
use crate::source::{ReadAt, read_range};

/// Most bytes of a description.
const MOST_BYTES: u64 = 64 << 20;

/// Bytes after the description: its length, and the magic.
const END: u64 = 8;

/// What a file has.
pub(super) struct Footer {
    pub(super) leaves: Vec<Leaf>,
    pub(super) groups: Vec<Group>,
    pub(super) rows: u64,
}

/// A row group.
pub(super) struct Group {
    pub(super) rows: u64,
    /// A chunk for each leaf.
    pub(super) chunks: Vec<Chunk>,
}

/// The values of a column in a row group.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub(super) codec: i64,
    pub(super) values: u64,
    /// Where its pages begin and end in the file.
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Footer {
    pub(super) fn read(source: &dyn ReadAt) -> Result<Footer, FormatError> {
        let size = source.size();
        let short = || FormatError::new(Code::Truncated, Place::File, "too short for a Parquet file");
        let magic = MAGIC.len() as u64;
        if size < magic || read_range(source, 0, magic)? != MAGIC {
            let cause = "expected the first bytes of a Parquet file";
            return Err(FormatError::new(Code::UnknownFormat, Place::Byte(0), cause));
        }
        let end = size.checked_sub(END).filter(|end| *end >= magic).ok_or_else(short)?;
        let last = read_range(source, end, END)?;
        let (length, ending) = last.split_at(magic as usize);
        if ending == b"PARE" {
            let cause = "an encrypted Parquet file";
            return Err(FormatError::new(Code::Unsupported, Place::Byte(end), cause));
        }
        if ending != MAGIC {
            let cause = "expected the last bytes of a Parquet file; the file may be cut off";
            return Err(FormatError::new(Code::Truncated, Place::Byte(end + magic), cause));
        }
        let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
        let start = end.checked_sub(length).filter(|start| *start >= magic).ok_or_else(|| {
            let cause = format!("a description of {length} bytes in a file of {size}");
            FormatError::new(Code::Truncated, Place::Byte(end), cause)
        })?;
        if length > MOST_BYTES {
            let cause = format!("a description of {length} bytes; the limit is {MOST_BYTES}");
            return Err(FormatError::new(Code::TooLarge, Place::Byte(end), cause));
        }
        let bytes = read_range(source, start, length)?;
        Footer::parse(&bytes, start).map_err(|refusal| refusal.at(Place::Byte(start)))
    }

    /// Parses a description, which begins at `start` of the file.
    fn parse(bytes: &[u8], start: u64) -> Result<Footer, Refusal> {
        let (mut leaves, mut groups, mut rows) = (None, Vec::new(), 0);
        ThriftReader::new(bytes).structure(|reader, field| {
            match (field.number, field.kind) {
                (2, LIST) => leaves = Some(schema::read(reader)?),
                (3, I64) => rows = count(reader.integer()?, "rows")?,
                (4, LIST) => {
                    let leaves =
                        leaves.as_deref().ok_or_else(|| malformed("row groups before the schema"))?;
                    reader.structures(|reader| {
                        groups.push(group(reader, leaves, start)?);
                        Ok(())
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let leaves = leaves.ok_or_else(|| malformed("no schema"))?;
        let of_groups = groups.iter().try_fold(0_u64, |sum, group| sum.checked_add(group.rows));
        if of_groups != Some(rows) {
            return Err(malformed(format!("{rows} rows, which are not those of its row groups")));
        }
        Ok(Footer { leaves, groups, rows })
    }
}

fn count(number: i64, what: &str) -> Result<u64, Refusal> {
    u64::try_from(number).map_err(|_| malformed(format!("{number} {what}")))
}

fn group(reader: &mut ThriftReader<'_>, leaves: &[Leaf], end: u64) -> Result<Group, Refusal> {
    let (mut rows, mut chunks) = (0, Vec::new());
    reader.structure(|reader, field| {
        match (field.number, field.kind) {
            (1, LIST) => reader.structures(|reader| {
                let leaf = leaves.get(chunks.len());
                let leaf = leaf.ok_or_else(|| malformed("a row group of more columns than the schema"))?;
                chunks.push(chunk(reader, leaf, end)?);
                Ok(())
            })?,
            (3, I64) => rows = count(reader.integer()?, "rows")?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if chunks.len() != leaves.len() {
        let found = chunks.len();
        return Err(malformed(format!("a row group of {found} columns; the schema has {}", leaves.len())));
    }
    Ok(Group { rows, chunks })
}

fn chunk(reader: &mut ThriftReader<'_>, leaf: &Leaf, end: u64) -> Result<Chunk, Refusal> {
    let mut found = None;
    let mut is_elsewhere = false;
    reader.structure(|reader, field| {
        match (field.number, field.kind) {
            (1, BINARY) => is_elsewhere = !reader.binary()?.is_empty(),
            (3, STRUCT) => found = Some(metadata(reader, leaf, end)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if is_elsewhere {
        return Err(Refusal::new(Code::Unsupported, "columns in other files"));
    }
    found.ok_or_else(|| malformed("a column without a description"))
}

fn metadata(reader: &mut ThriftReader<'_>, leaf: &Leaf, end: u64) -> Result<Chunk, Refusal> {
    let [mut physical, mut codec, mut values, mut bytes, mut data, mut dictionary] = [None; 6];
    let mut path = Vec::new();
    reader.structure(|reader, field| {
        let number = match (field.number, field.kind) {
            (1, I32) => &mut physical,
            (4, I32) => &mut codec,
            (5, I64) => &mut values,
            (7, I64) => &mut bytes,
            (9, I64) => &mut data,
            (11, I64) => &mut dictionary,
            (3, LIST) => {
                let (kind, length) = reader.list()?;
                if kind != BINARY {
                    return Err(malformed("a path of other things than names"));
                }
                for _ in 0..length {
                    path.push(reader.text()?);
                }
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *number = Some(reader.integer()?);
        Ok(true)
    })?;
    let needed = |number: Option<i64>, what: &str| {
        count(number.ok_or_else(|| malformed(format!("a column without its {what}")))?, what)
    };
    if physical != Some(leaf.physical) || path != leaf.path {
        return Err(malformed("a column that is not the schema's"));
    }
    let (bytes, data) = (needed(bytes, "size in bytes")?, needed(data, "offset")?);
    // Some writers put 0 where there is no dictionary.
    let start = match dictionary {
        Some(dictionary @ 1..) if (dictionary as u64) < data => dictionary as u64,
        _ => data,
    };
    match start.checked_add(bytes) {
        Some(stop) if start >= MAGIC.len() as u64 && stop <= end => Ok(Chunk {
            codec: codec.ok_or_else(|| malformed("a column without its compression"))?,
            values: needed(values, "number of values")?,
            start,
            end: stop,
        }),
        _ => Err(malformed(format!("{bytes} bytes of a column at byte {start}, outside the table"))),
    }
}
