//! Writes archives of stored entries.

use std::io::{self, Seek, SeekFrom, Write};

use crc32fast::Hasher;

/// Id and padding of the extra field that aligns contents, as in PyTorch.
const PADDING: (&[u8; 2], u8) = (b"FB", b'Z');
/// 1980-01-01, so that the same content gives the same bytes.
const DATE: u16 = 0x0021;
const SATURATED: u32 = u32::MAX;

/// The directory record of a written entry.
struct Written {
    name: String,
    size: u64,
    offset: u64,
    crc: u32,
}

/// Writes an archive: stored entries, each with sizes and CRC in its local header, with aligned contents.
///
/// A CRC is known only after the content, so the headers are corrected at the end; the output must support seeking.
pub(crate) struct ZipWriter<'a, W: Write + Seek> {
    out: &'a mut W,
    /// Position of the archive in the output.
    start: u64,
    position: u64,
    alignment: u64,
    entries: Vec<Written>,
}

impl<'a, W: Write + Seek> ZipWriter<'a, W> {
    /// Starts an archive at the output's position; contents will start at multiples of `alignment`.
    pub(crate) fn new(out: &'a mut W, alignment: u64) -> io::Result<ZipWriter<'a, W>> {
        let start = out.stream_position()?;
        Ok(ZipWriter { out, start, position: 0, alignment, entries: Vec::new() })
    }

    /// Writes an entry of exactly `size` bytes, which `provide` writes.
    pub(crate) fn add(
        &mut self,
        name: String,
        size: u64,
        provide: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let offset = self.position;
        let header = self.local_header(&name, size)?;
        self.out.write_all(&header)?;
        let mut content = Content { out: &mut *self.out, hasher: Hasher::new(), left: size };
        provide(&mut content)?;
        if content.left > 0 {
            let cause = format!("entry `{name}` lacks {} of its {size} bytes", content.left);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
        }
        let crc = content.hasher.finalize();
        self.position += header.len() as u64 + size;
        self.entries.push(Written { name, size, offset, crc });
        Ok(())
    }

    /// CRCs of the entries so far.
    pub(crate) fn checksums(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|entry| entry.crc)
    }

    /// Writes the directory and corrects the headers; leaves the output at its end.
    pub(crate) fn finish(self) -> io::Result<()> {
        let directory = self.directory();
        self.out.write_all(&directory)?;
        for entry in &self.entries {
            self.out.seek(SeekFrom::Start(self.start + entry.offset + 14))?;
            self.out.write_all(&entry.crc.to_le_bytes())?;
        }
        self.out.seek(SeekFrom::Start(self.start + self.position + directory.len() as u64))?;
        Ok(())
    }

    fn local_header(&self, name: &str, size: u64) -> io::Result<Vec<u8>> {
        let plain = saturated(size);
        let mut header = Vec::with_capacity(128);
        header.extend(b"PK\x03\x04");
        header.extend(header_fields(plain == SATURATED, 0, plain));
        header.extend(length(name.len())?.to_le_bytes());
        let mut extra = Vec::new();
        if plain == SATURATED {
            push_zip64(&mut extra, &[size, size]);
        }
        let fixed = self.position + (header.len() + 2 + name.len() + extra.len() + 4) as u64;
        let padding = (self.alignment - fixed % self.alignment) % self.alignment;
        extra.extend(PADDING.0);
        extra.extend((padding as u16).to_le_bytes());
        extra.extend(std::iter::repeat_n(PADDING.1, padding as usize));
        header.extend(length(extra.len())?.to_le_bytes());
        header.extend(name.as_bytes());
        header.extend(extra);
        Ok(header)
    }

    fn directory(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &self.entries {
            let (size, offset) = (saturated(entry.size), saturated(entry.offset));
            let mut long = Vec::new();
            if size == SATURATED {
                long.extend([entry.size, entry.size]);
            }
            if offset == SATURATED {
                long.push(entry.offset);
            }
            let mut extra = Vec::new();
            if !long.is_empty() {
                push_zip64(&mut extra, &long);
            }
            out.extend(b"PK\x01\x02\x00\x00");
            out.extend(header_fields(!long.is_empty(), entry.crc, size));
            // The name's length was checked with the local header; disk and attributes are zero.
            out.extend((entry.name.len() as u16).to_le_bytes());
            out.extend((extra.len() as u16).to_le_bytes());
            out.extend([0; 10]);
            out.extend(offset.to_le_bytes());
            out.extend(entry.name.as_bytes());
            out.extend(extra);
        }
        self.push_end(&mut out);
        out
    }

    fn push_end(&self, out: &mut Vec<u8>) {
        let (count, size) = (self.entries.len() as u64, out.len() as u64);
        let plain_count = u16::try_from(count).unwrap_or(u16::MAX);
        let plain = [saturated(size), saturated(self.position)];
        if plain_count == u16::MAX || plain.contains(&SATURATED) {
            let end = self.position + size;
            out.extend(b"PK\x06\x06");
            out.extend(44u64.to_le_bytes());
            out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            for value in [count, count, size, self.position] {
                out.extend(value.to_le_bytes());
            }
            out.extend(b"PK\x06\x07\x00\x00\x00\x00");
            out.extend(end.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        out.extend(b"PK\x05\x06\x00\x00\x00\x00");
        out.extend(plain_count.to_le_bytes());
        out.extend(plain_count.to_le_bytes());
        plain.into_iter().for_each(|value| out.extend(value.to_le_bytes()));
        out.extend([0, 0]);
    }
}

/// Version needed, flags, method, time, date, CRC and sizes: identical in both headers of a stored entry.
fn header_fields(zip64: bool, crc: u32, size: u32) -> Vec<u8> {
    let needed: u16 = if zip64 { 45 } else { 20 };
    let mut out = Vec::with_capacity(22);
    for value in [needed, 0, 0, 0, DATE] {
        out.extend(value.to_le_bytes());
    }
    for value in [crc, size, size] {
        out.extend(value.to_le_bytes());
    }
    out
}

fn push_zip64(extra: &mut Vec<u8>, values: &[u64]) {
    extra.extend(1u16.to_le_bytes());
    extra.extend((8 * values.len() as u16).to_le_bytes());
    values.iter().for_each(|value| extra.extend(value.to_le_bytes()));
}

fn saturated(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(SATURATED)
}

fn length(length: usize) -> io::Result<u16> {
    u16::try_from(length)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name too long for a zip"))
}

/// The content of an entry on its way to the output.
struct Content<'a, W: Write> {
    out: &'a mut W,
    hasher: Hasher,
    left: u64,
}

impl<W: Write> Write for Content<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            let cause = format!("{} bytes more than the entry's size", bytes.len() as u64 - self.left);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
        }
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
