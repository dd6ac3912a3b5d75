//! Local headers and data descriptors: they must repeat the directory, and cover the file.

use super::directory::{check_unicode_path, extra_block};
use super::{Fields, Method, ZipEntry, malformed};
use crate::error::{Code, FormatError, Place};
use crate::source::{ReadAt, read_range};

const HEADER: &[u8; 4] = b"PK\x03\x04";
const HEADER_LENGTH: u64 = 30;
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
const FLAG_DESCRIPTOR: u16 = 0x0008;
/// Number of bytes read after a name, usually enough for the extra field.
const EXTRA_GUESS: u64 = 256;

/// Checks every local header against the directory, and that the entries are contiguous from byte 0 to the directory;
/// sets the offsets of the contents.
pub(super) fn check_all(
    source: &dyn ReadAt,
    entries: &mut [ZipEntry],
    directory_offset: u64,
) -> Result<(), FormatError> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|&index| entries[index].header_offset);
    let mut expected = 0;
    for (position, &index) in order.iter().enumerate() {
        let next = order.get(position + 1).map_or(directory_offset, |&after| entries[after].header_offset);
        let entry = &mut entries[index];
        let offset = entry.header_offset;
        if offset != expected || next <= offset {
            return Err(malformed(
                Place::Entry(entry.name.clone()),
                format!("starts at byte {offset} instead of {expected}: a gap or an overlap"),
            ));
        }
        check_one(source, entry, next)?;
        expected = next;
    }
    if expected != directory_offset {
        return Err(malformed(
            Place::Byte(expected),
            format!("bytes that belong to no entry before the directory at byte {directory_offset}"),
        ));
    }
    Ok(())
}

/// Checks the entry whose header, content and descriptor must end exactly at `next`.
fn check_one(source: &dyn ReadAt, entry: &mut ZipEntry, next: u64) -> Result<(), FormatError> {
    let place = || Place::Entry(entry.name.clone());
    let differs = |what: &str| malformed(place(), format!("directory and local header differ in {what}"));
    let offset = entry.header_offset;
    let name_end = HEADER_LENGTH + entry.name.len() as u64;
    let room = next - offset;
    if room < name_end {
        return Err(malformed(place(), format!("{room} bytes are left for a local header of {name_end}")));
    }
    let bytes = read_range(source, offset, room.min(name_end + EXTRA_GUESS))?;
    if !bytes.starts_with(HEADER) {
        return Err(malformed(place(), format!("no local header at byte {offset}")));
    }
    let header = Fields(&bytes);
    if u64::from(header.u16(26)) != entry.name.len() as u64
        || &bytes[HEADER_LENGTH as usize..name_end as usize] != entry.name.as_bytes()
    {
        return Err(differs("the name"));
    }
    if header.u16(6) != entry.flags {
        return Err(differs("the flags"));
    }
    let method = if entry.method == Method::Stored { 0 } else { 8 };
    if header.u16(8) != method {
        return Err(differs("the compression method"));
    }
    let data = name_end + u64::from(header.u16(28));
    let end = data.checked_add(entry.compressed).filter(|&end| end <= room).ok_or_else(|| {
        let cause = format!("{} bytes of content run into what follows at byte {next}", entry.compressed);
        FormatError::new(Code::Malformed, place(), cause)
    })?;
    let later;
    let extra = match bytes.get(name_end as usize..data as usize) {
        Some(extra) => extra,
        None => {
            later = read_range(source, offset + name_end, data - name_end)?;
            &later
        }
    };
    check_unicode_path(extra, &entry.name).map_err(|cause| malformed(place(), cause))?;
    let zip64 = extra_block(extra, 1).map_err(|cause| malformed(place(), cause))?;
    let described = entry.flags & FLAG_DESCRIPTOR != 0;
    let sizes = [u64::from(header.u32(22)), u64::from(header.u32(18))];
    check_sizes(entry, described, header.u32(14), sizes, zip64).map_err(differs)?;
    match room - end {
        0 if !described => {}
        length @ (12 | 16 | 20 | 24) if described => {
            let descriptor = read_range(source, offset + end, length)?;
            if !is_descriptor_of(entry, &descriptor) {
                return Err(malformed(place(), "the data descriptor contradicts the directory"));
            }
        }
        rest => {
            let cause = format!("{rest} bytes after the content are unused");
            return Err(malformed(place(), cause));
        }
    }
    entry.data_offset = offset + data;
    Ok(())
}

/// Compares CRC and sizes; if a descriptor follows, each may be zero instead.
fn check_sizes(
    entry: &ZipEntry,
    described: bool,
    crc: u32,
    plain: [u64; 2],
    zip64: Option<&[u8]>,
) -> Result<(), &'static str> {
    if crc != entry.crc && !(described && crc == 0) {
        return Err("the CRC");
    }
    let saturated = u64::from(u32::MAX);
    let long: Vec<u64> = match zip64 {
        None => Vec::new(),
        Some(block) if block.len() % 8 == 0 && (8..=24).contains(&block.len()) => {
            (0..block.len() / 8).map(|i| Fields(block).u64(8 * i)).collect()
        }
        Some(_) => return Err("the length of the zip64 field"),
    };
    for (position, expected) in [entry.size, entry.compressed].into_iter().enumerate() {
        let found = match plain[position] {
            value if value == saturated => *long.get(position).ok_or("the sizes")?,
            value => value,
        };
        if found != expected && !(described && found == 0) {
            return Err("the sizes");
        }
    }
    Ok(())
}

/// Whether a descriptor, with or without signature, with short or long sizes, repeats the directory.
fn is_descriptor_of(entry: &ZipEntry, bytes: &[u8]) -> bool {
    let signed = bytes.len().is_multiple_of(8);
    if signed && !bytes.starts_with(DESCRIPTOR) {
        return false;
    }
    let fields = Fields(if signed { &bytes[4..] } else { bytes });
    let sizes = if fields.0.len() == 12 {
        [u64::from(fields.u32(4)), u64::from(fields.u32(8))]
    } else {
        [fields.u64(4), fields.u64(12)]
    };
    fields.u32(0) == entry.crc && sizes == [entry.compressed, entry.size]
}
