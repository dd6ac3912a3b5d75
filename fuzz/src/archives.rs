//! Zip archives with correct checksums, so that a fuzzer gets past the checksum tests.

/// Mutates an archive like libFuzzer; in seven of eight cases, corrects the checksums so that the code behind them is
/// reached.
pub fn mutate_archive(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    if seed % 8 != 0 {
        repair_checksums(&mut data[..size]);
    }
    size
}

/// Sets the checksum of every stored entry to match its bytes, in the directory and in the local header. Leaves
/// anything that is not an archive unchanged.
fn repair_checksums(archive: &mut [u8]) {
    let Some(end) = archive.windows(4).rposition(|window| window == b"PK\x05\x06") else { return };
    let (Some(count), Some(start)) = (number(archive, end + 10, 2), number(archive, end + 16, 4)) else {
        return;
    };
    let mut at = start;
    for _ in 0..count.min(1000) {
        let Some(next) = repair_entry(archive, at) else { return };
        at = next;
    }
}

/// Repairs the entry whose directory record is at `at`; returns where the next record starts.
fn repair_entry(archive: &mut [u8], at: usize) -> Option<usize> {
    let is_record = archive.get(at..)?.starts_with(b"PK\x01\x02");
    let method = number(archive, at + 10, 2)?;
    let size = number(archive, at + 20, 4)?;
    let lengths = [28, 30, 32].map(|field| number(archive, at + field, 2));
    let next = lengths.iter().try_fold(at + 46, |sum, length| Some(sum + (*length)?))?;
    let local = number(archive, at + 42, 4)?;
    let flags = number(archive, at + 8, 2)?;
    let data = local + 30 + number(archive, local + 26, 2)? + number(archive, local + 28, 2)?;
    if is_record && method == 0 {
        let crc = crc32fast::hash(archive.get(data..data.checked_add(size)?)?).to_le_bytes();
        archive.get_mut(at + 16..at + 20)?.copy_from_slice(&crc);
        // With a data descriptor, the field in the local header is 0.
        if flags & 8 == 0 && archive.get(local..)?.starts_with(b"PK\x03\x04") {
            archive.get_mut(local + 14..local + 18)?.copy_from_slice(&crc);
        }
    }
    Some(next)
}

/// Reads a little-endian number.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
}

/// Returns an archive of stored entries.
pub fn stored_archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let offset = (out.len() as u32).to_le_bytes();
        let size = (content.len() as u32).to_le_bytes();
        let crc = crc32fast::hash(content).to_le_bytes();
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        fields.extend([crc, size, size].as_flattened());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        out.extend([&b"PK\x03\x04"[..], &fields, name.as_bytes(), content].concat());
        directory.extend([&b"PK\x01\x02\x14\x03"[..], &fields, &[0; 10], &offset, name.as_bytes()].concat());
    }
    let (start, count) = ((out.len() as u32).to_le_bytes(), (entries.len() as u16).to_le_bytes());
    let size = (directory.len() as u32).to_le_bytes();
    out.extend([&directory[..], b"PK\x05\x06\0\0\0\0", &count, &count, &size, &start, &[0, 0]].concat());
    out
}
