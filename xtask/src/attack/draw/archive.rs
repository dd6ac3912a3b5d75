//! Zip archives with stored and deflated entries.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// An entry: its name, its contents, and whether it is deflated.
pub type Entry<'a> = (&'a str, &'a [u8], bool);

/// Creates an archive.
pub fn archive(entries: &[Entry<'_>]) -> std::io::Result<Vec<u8>> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for &(name, content, deflated) in entries {
        let stored = if deflated { deflate(content)? } else { content.to_vec() };
        let offset = (out.len() as u32).to_le_bytes();
        let mut fields = vec![20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0x21, 0];
        fields.extend(crc32fast::hash(content).to_le_bytes());
        fields.extend((stored.len() as u32).to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        out.extend([&b"PK\x03\x04"[..], &fields, name.as_bytes(), &stored].concat());
        directory.extend([&b"PK\x01\x02\x14\x03"[..], &fields, &[0; 10], &offset, name.as_bytes()].concat());
    }
    let (start, count) = ((out.len() as u32).to_le_bytes(), (entries.len() as u16).to_le_bytes());
    let size = (directory.len() as u32).to_le_bytes();
    out.extend([&directory[..], b"PK\x05\x06\0\0\0\0", &count, &count, &size, &start, &[0, 0]].concat());
    Ok(out)
}

fn deflate(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content)?;
    encoder.finish()
}
