//! The end record and the central directory.

use std::sync::atomic::AtomicBool;

use super::{Fields, Method, ZipEntry, malformed, name};
use crate::error::{Code, FormatError, Place, shown};
use crate::memory::reserve;
use crate::source::{ReadAt, read_range};

const END: &[u8; 4] = b"PK\x05\x06";
const END_LENGTH: u64 = 22;
const LONGEST_COMMENT: u64 = 0xffff;
const LOCATOR: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_LENGTH: u64 = 20;
const END_64: &[u8; 4] = b"PK\x06\x06";
const END_64_LENGTH: u64 = 56;
const HEADER: &[u8; 4] = b"PK\x01\x02";
const HEADER_LENGTH: usize = 46;

/// Maximum size of the directory.
const LARGEST_DIRECTORY: u64 = 64 << 20;
/// Supported flag bits: deflate level, data descriptor, UTF-8 names.
const FLAGS: u16 = 0x0006 | 0x0008 | 0x0800;
/// Maximum expansion of any deflate stream.
const DEFLATE_RATIO: u64 = 1032;

/// Location of the directory, and its number of entries.
pub(super) struct End {
    pub(super) directory_offset: u64,
    directory_size: u64,
    entries: u64,
}

/// Finds the only end record.
pub(super) fn find_end(source: &dyn ReadAt) -> Result<End, FormatError> {
    let size = source.size();
    let tail_start = size.saturating_sub(END_LENGTH + LONGEST_COMMENT);
    let tail = read_range(source, tail_start, size - tail_start)?;
    let candidates: Vec<usize> = (0..(tail.len() + 1).saturating_sub(END_LENGTH as usize))
        .filter(|&at| {
            tail[at..].starts_with(END)
                && usize::from(Fields(&tail[at..]).u16(20)) == tail.len() - at - END_LENGTH as usize
        })
        .collect();
    let at = match candidates[..] {
        [at] => at,
        [] => {
            return Err(FormatError::new(
                Code::Truncated,
                Place::Byte(size),
                "no zip end record; the file is truncated or was not written completely",
            ));
        }
        _ => {
            let place = Place::Byte(tail_start + candidates[0] as u64);
            return Err(malformed(place, "the archive has two end records"));
        }
    };
    let end_offset = tail_start + at as u64;
    let comment = &tail[at + END_LENGTH as usize..];
    if comment.windows(4).any(|window| window == END) {
        return Err(malformed(Place::Byte(end_offset), "the archive comment contains a second end record"));
    }
    let record = Fields(&tail[at..]);
    let plain = Plain {
        disks: [record.u16(4), record.u16(6)],
        entries: [record.u16(8), record.u16(10)],
        directory_size: record.u32(12),
        directory_offset: record.u32(16),
    };
    let (end, directory_end) = match read_end_64(source, end_offset, &plain)? {
        Some(found) => found,
        None => (plain.end(end_offset)?, end_offset),
    };
    if end.directory_offset.checked_add(end.directory_size) != Some(directory_end) {
        return Err(malformed(
            Place::Byte(end_offset),
            format!(
                "the directory should have {} bytes at byte {}, which does not end at byte {directory_end}",
                end.directory_size, end.directory_offset
            ),
        ));
    }
    Ok(end)
}

/// Fields of the plain end record.
struct Plain {
    disks: [u16; 2],
    entries: [u16; 2],
    directory_size: u32,
    directory_offset: u32,
}

impl Plain {
    fn end(&self, offset: u64) -> Result<End, FormatError> {
        let place = Place::Byte(offset);
        if self.disks != [0, 0] {
            return Err(FormatError::new(Code::Unsupported, place, "a multi-part archive"));
        }
        if self.entries[0] != self.entries[1] {
            return Err(malformed(place, "the end record states two different numbers of entries"));
        }
        if self.entries[0] == u16::MAX || self.directory_size == u32::MAX || self.directory_offset == u32::MAX
        {
            return Err(malformed(place, "the end record points to a missing zip64 record"));
        }
        Ok(End {
            directory_offset: self.directory_offset.into(),
            directory_size: self.directory_size.into(),
            entries: self.entries[0].into(),
        })
    }

    /// Whether each field is either saturated or equal to the zip64 record's.
    fn agrees(&self, end: &End) -> bool {
        let entries_agree = |value: u16| value == u16::MAX || u64::from(value) == end.entries;
        let agree = |value: u32, long: u64| value == u32::MAX || u64::from(value) == long;
        self.disks.iter().all(|&disk| disk == 0 || disk == u16::MAX)
            && self.entries.into_iter().all(entries_agree)
            && agree(self.directory_size, end.directory_size)
            && agree(self.directory_offset, end.directory_offset)
    }
}

/// Reads the zip64 end record, if a locator precedes the plain one; returns it and its offset.
fn read_end_64(source: &dyn ReadAt, end: u64, plain: &Plain) -> Result<Option<(End, u64)>, FormatError> {
    let Some(locator_offset) = end.checked_sub(LOCATOR_LENGTH) else { return Ok(None) };
    let locator = read_range(source, locator_offset, LOCATOR_LENGTH)?;
    if !locator.starts_with(LOCATOR) {
        return Ok(None);
    }
    let locator = Fields(&locator);
    let (disk, offset, disks) = (locator.u32(4), locator.u64(8), locator.u32(16));
    if disk != 0 || disks != 1 || offset.checked_add(END_64_LENGTH) != Some(locator_offset) {
        return Err(malformed(
            Place::Byte(locator_offset),
            format!("the zip64 locator points to byte {offset}, where no record can be"),
        ));
    }
    let bytes = read_range(source, offset, END_64_LENGTH)?;
    let record = Fields(&bytes);
    let place = Place::Byte(offset);
    if !bytes.starts_with(END_64) || record.u64(4) != END_64_LENGTH - 12 {
        return Err(malformed(place, "no zip64 end record of the usual length here"));
    }
    if record.u32(16) != 0 || record.u32(20) != 0 {
        return Err(FormatError::new(Code::Unsupported, place, "a multi-part archive"));
    }
    let found =
        End { directory_offset: record.u64(48), directory_size: record.u64(40), entries: record.u64(32) };
    if record.u64(24) != found.entries || !plain.agrees(&found) {
        return Err(malformed(place, "the zip64 end record contradicts the plain one"));
    }
    Ok(Some((found, offset)))
}

/// Reads the directory; the offsets of the contents are not known yet.
pub(super) fn read_entries(source: &dyn ReadAt, end: &End) -> Result<Vec<ZipEntry>, FormatError> {
    let place = Place::Byte(end.directory_offset);
    if end.directory_size > LARGEST_DIRECTORY {
        return Err(FormatError::new(
            Code::TooLarge,
            place,
            format!("the directory has {} bytes; the limit is {LARGEST_DIRECTORY}", end.directory_size),
        ));
    }
    if end.entries > end.directory_size / HEADER_LENGTH as u64 {
        return Err(malformed(
            place,
            format!("{} entries do not fit in a directory of {} bytes", end.entries, end.directory_size),
        ));
    }
    let bytes = read_range(source, end.directory_offset, end.directory_size)?;
    let mut entries = Vec::new();
    reserve(&mut entries, end.entries as usize, || Place::Byte(end.directory_offset))?;
    let mut at = 0;
    for _ in 0..end.entries {
        let offset = end.directory_offset + at as u64;
        let (entry, length) = read_entry(&bytes[at..], offset)?;
        entries.push(entry);
        at += length;
    }
    if at != bytes.len() {
        return Err(malformed(
            Place::Byte(end.directory_offset + at as u64),
            format!("{} bytes of the directory are left over after its last entry", bytes.len() - at),
        ));
    }
    Ok(entries)
}

fn read_entry(bytes: &[u8], offset: u64) -> Result<(ZipEntry, usize), FormatError> {
    let cut = || malformed(Place::Byte(offset), "an entry runs past the end of the directory");
    let header = bytes.get(..HEADER_LENGTH).ok_or_else(cut)?;
    if !header.starts_with(HEADER) {
        return Err(malformed(Place::Byte(offset), "expected a directory entry"));
    }
    let header = Fields(header);
    let name_end = HEADER_LENGTH + usize::from(header.u16(28));
    let extra_end = name_end + usize::from(header.u16(30));
    let length = extra_end + usize::from(header.u16(32));
    let extra = bytes.get(..length).ok_or_else(cut)?.get(name_end..extra_end).ok_or_else(cut)?;
    let name = name::check(&bytes[HEADER_LENGTH..name_end], offset)?;
    let refuse = |code, cause: String| FormatError::new(code, Place::Entry(name.clone()), cause);

    let flags = header.u16(8);
    if flags & !FLAGS != 0 {
        let cause = format!("flags {flags:#06x}: encrypted, patched or unknown");
        return Err(refuse(Code::Unsupported, cause));
    }
    let method = match header.u16(10) {
        0 => Method::Stored,
        8 => Method::Deflated,
        other => {
            let cause = format!("compression method {other}; only 0 (stored) and 8 (deflate) are supported");
            return Err(refuse(Code::Unsupported, cause));
        }
    };
    let mut long = [u64::from(header.u32(24)), u64::from(header.u32(20)), u64::from(header.u32(42))];
    fill_from_extra(extra, &mut long).map_err(|cause| refuse(Code::Malformed, cause))?;
    check_unicode_path(extra, &name).map_err(|cause| refuse(Code::Malformed, cause))?;
    let [size, compressed, header_offset] = long;
    if header.u16(34) != 0 {
        return Err(refuse(Code::Unsupported, "a multi-part archive".into()));
    }
    if method == Method::Stored && size != compressed {
        let cause = format!("stored, but {compressed} bytes should contain {size}");
        return Err(refuse(Code::Malformed, cause));
    }
    if method == Method::Deflated && size / DEFLATE_RATIO > compressed {
        let cause = format!("{compressed} deflated bytes cannot contain {size}");
        return Err(refuse(Code::Malformed, cause));
    }
    if name.ends_with('/') && size != 0 {
        return Err(refuse(Code::Malformed, format!("a folder with {size} bytes")));
    }
    let crc = header.u32(16);
    let verified = AtomicBool::new(false);
    let entry =
        ZipEntry { name, method, flags, crc, compressed, size, header_offset, data_offset: 0, verified };
    Ok((entry, length))
}

/// Replaces saturated size, compressed size and offset with the values of the zip64 extra field.
fn fill_from_extra(extra: &[u8], long: &mut [u64; 3]) -> Result<(), String> {
    let saturated = long.iter().filter(|&&value| value == u64::from(u32::MAX)).count();
    match extra_block(extra, 1)? {
        None if saturated == 0 => Ok(()),
        None => Err("sizes should be in a zip64 field, which is missing".into()),
        Some(block) if saturated > 0 && block.len() == 8 * saturated => {
            let fields = Fields(block);
            let wanting = long.iter_mut().filter(|value| **value == u64::from(u32::MAX));
            for (position, value) in wanting.enumerate() {
                *value = fields.u64(8 * position);
            }
            Ok(())
        }
        Some(block) => Err(format!("a zip64 field of {} bytes instead of {}", block.len(), 8 * saturated)),
    }
}

/// Id of Info-ZIP's block that repeats the name in UTF-8.
const UNICODE_PATH: u16 = 0x7075;
/// Bytes before the name in that block: its version and the CRC of the plain name.
const UNICODE_PATH_HEAD: usize = 5;

/// Refuses an extra field that renames its entry: some programs use that name, others do not.
pub(super) fn check_unicode_path(extra: &[u8], name: &str) -> Result<(), String> {
    match extra_block(extra, UNICODE_PATH)? {
        Some(block) if block.get(UNICODE_PATH_HEAD..) != Some(name.as_bytes()) => {
            let other = block.get(UNICODE_PATH_HEAD..).unwrap_or_default();
            let other = shown(&String::from_utf8_lossy(other));
            Err(format!("its extra field gives it the other name `{other}`"))
        }
        _ => Ok(()),
    }
}

/// Finds the block with this id in an extra field, whose blocks must cover it exactly.
pub(super) fn extra_block(extra: &[u8], id: u16) -> Result<Option<&[u8]>, String> {
    let mut rest = extra;
    let mut found = None;
    while !rest.is_empty() {
        let block = (rest.len() >= 4).then(|| 4 + usize::from(Fields(rest).u16(2)));
        let Some(block) = block.and_then(|length| rest.get(..length)) else {
            return Err(format!("the extra field of {} bytes has a block longer than itself", extra.len()));
        };
        if Fields(block).u16(0) == id && found.replace(&block[4..]).is_some() {
            return Err(format!("the extra field has two blocks {id:#06x}"));
        }
        rest = &rest[block.len()..];
    }
    Ok(found)
}
