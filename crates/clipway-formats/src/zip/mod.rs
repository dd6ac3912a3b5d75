//! Strict reading of zip archives.
//!
//! A zip file describes its entries twice: in a header before each entry, and in the directory at the end. Tools differ
//! in which one they trust, and that is how a file can show one thing to a scanner and another to a loader.
//! [`ZipArchive::open`] accepts only consistent archives: directory and local headers agree, the entries cover the file
//! from its first byte to the directory without gap or overlap, and no name occurs twice or leaves the archive. Every
//! byte read is checked against its CRC-32.
//!
//! Supported: stored and deflated entries, data descriptors, zip64. Source: PKWARE's APPNOTE 6.3.

mod directory;
mod entry;
mod inflation;
mod local;
mod name;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Code, FormatError, Place};
use crate::source::ReadAt;

pub use self::inflation::raise_inflation_limit;
pub(crate) use self::writer::ZipWriter;

/// How the bytes of an entry are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Uncompressed.
    Stored,
    /// Compressed with deflate.
    Deflated,
}

/// One entry of an archive, as directory and local header agree.
#[derive(Debug)]
pub struct ZipEntry {
    name: String,
    method: Method,
    flags: u16,
    crc: u32,
    compressed: u64,
    size: u64,
    header_offset: u64,
    data_offset: u64,
    verified: AtomicBool,
}

impl ZipEntry {
    /// Name, with `/` between its parts.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size of the content in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Stored size of the content in bytes.
    pub fn compressed_size(&self) -> u64 {
        self.compressed
    }

    /// How the content is stored.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Offset in the file of the first byte of the (compressed) content.
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// Whether the entry is a folder.
    pub fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }
}

/// An open archive: its directory has been checked completely; contents are checked as they are read.
pub struct ZipArchive {
    source: Arc<dyn ReadAt>,
    entries: Vec<ZipEntry>,
    by_name: HashMap<String, usize>,
    checksums: bool,
}

impl ZipArchive {
    /// Reads and checks the directory and every local header; no content is read.
    ///
    /// # Errors
    /// Anything that makes the archive ambiguous, damaged or unsupported, with the entry or byte offset.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<ZipArchive, FormatError> {
        let end = directory::find_end(source.as_ref())?;
        let mut entries = directory::read_entries(source.as_ref(), &end)?;
        let mut by_name = HashMap::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            if by_name.insert(entry.name.clone(), index).is_some() {
                return Err(FormatError::new(
                    Code::Duplicate,
                    Place::Entry(entry.name.clone()),
                    "two entries of the archive have this name",
                ));
            }
        }
        local::check_all(source.as_ref(), &mut entries, end.directory_offset)?;
        let checksums = entries.iter().any(|entry| entry.crc != 0) || entries.iter().all(|e| e.size == 0);
        Ok(ZipArchive { source, entries, by_name, checksums })
    }

    /// The entries, in the order of the directory.
    pub fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    /// Index of the entry with exactly this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Whether the archive has checksums: `false` if every CRC is zero, as PyTorch writes with `compute_crc32=False`;
    /// reading then cannot check anything.
    pub fn has_checksums(&self) -> bool {
        self.checksums
    }

    fn is_verified(&self, index: usize) -> bool {
        self.entries[index].verified.load(Ordering::Acquire)
    }

    fn finish(&self, index: usize, found: u32) -> Result<(), FormatError> {
        let entry = &self.entries[index];
        if self.checksums && found != entry.crc {
            return Err(FormatError::new(
                Code::Checksum,
                Place::Entry(entry.name.clone()),
                format!("the CRC-32 is {found:08x}, but the archive says {:08x}", entry.crc),
            ));
        }
        entry.verified.store(true, Ordering::Release);
        Ok(())
    }
}

fn malformed(place: Place, cause: impl Into<String>) -> FormatError {
    FormatError::new(Code::Malformed, place, cause)
}

/// Little-endian fields of a fixed-size record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }
}
