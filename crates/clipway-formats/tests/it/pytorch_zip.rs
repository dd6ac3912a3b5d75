//! Variants of zip archives: deflate, data descriptors, zip64, comments, absent checksums.

use std::io::Write;
use std::sync::Arc;

use clipway_formats::{Code, FormatError, Method, ZipArchive};
use flate2::write::DeflateEncoder;

/// How to write a test archive. The default is two stored entries and nothing unusual.
#[derive(Clone, Copy, Default)]
struct Form {
    deflate: bool,
    /// Length of the data descriptor: 12, 16, 20 or 24.
    descriptor: usize,
    no_checksums: bool,
    zip64_end: bool,
    comment: &'static [u8],
}

const CONTENTS: [(&str, &[u8]); 2] =
    [("a/first", b"some content, some content, some content"), ("a/second", b"")];

fn build(form: Form) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in CONTENTS {
        let stored = match form.deflate {
            true => {
                let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            false => content.to_vec(),
        };
        let crc = if form.no_checksums { 0 } else { crc32fast::hash(content) };
        let offset = out.len() as u32;
        let head = |crc: u32, compressed: usize, size: usize| {
            let flags = if form.descriptor > 0 { 8u16 } else { 0 };
            let method = if form.deflate { 8u16 } else { 0 };
            let short = [20, flags, method, 0, 0].map(u16::to_le_bytes);
            let long = [crc, compressed as u32, size as u32].map(u32::to_le_bytes);
            [short.as_flattened(), long.as_flattened(), &(name.len() as u16).to_le_bytes(), &[0, 0]].concat()
        };
        let local = match form.descriptor {
            0 => head(crc, stored.len(), content.len()),
            _ => head(0, 0, 0),
        };
        out.extend([b"PK\x03\x04", &local[..], name.as_bytes(), &stored].concat());
        let sizes = [stored.len() as u64, content.len() as u64];
        if matches!(form.descriptor, 16 | 24) {
            out.extend(b"PK\x07\x08");
        }
        match form.descriptor {
            0 => {}
            12 | 16 => {
                out.extend(crc.to_le_bytes());
                sizes.iter().for_each(|&size| out.extend((size as u32).to_le_bytes()));
            }
            _ => {
                out.extend(crc.to_le_bytes());
                sizes.iter().for_each(|&size| out.extend(size.to_le_bytes()));
            }
        }
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(head(crc, stored.len(), content.len()));
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, size) = (out.len() as u64, directory.len() as u64);
    out.extend(directory);
    let end = out.len() as u64;
    let mut plain = [2, 0, size as u32, start as u32];
    if form.zip64_end {
        out.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
        [2, 2, size, start].iter().for_each(|value| out.extend(value.to_le_bytes()));
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend(end.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        plain = [0xffff, 0, u32::MAX, u32::MAX];
    }
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([plain[0] as u16; 2].map(u16::to_le_bytes).as_flattened());
    out.extend(plain[2].to_le_bytes());
    out.extend(plain[3].to_le_bytes());
    out.extend((form.comment.len() as u16).to_le_bytes());
    out.extend(form.comment);
    out
}

/// Opens an archive and reads its entries, whole and in parts.
fn read(bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, FormatError> {
    let archive = ZipArchive::open(Arc::new(bytes))?;
    let mut contents = Vec::new();
    for (index, entry) in archive.entries().iter().enumerate() {
        let mut part = Vec::new();
        let half = entry.size() / 2;
        archive.read_range(index, half, entry.size() - half, &mut part)?;
        let whole = archive.read(index, 100)?;
        assert_eq!(part, whole[half as usize..]);
        archive.read_range(index, 0, half, &mut part)?;
        assert_eq!(part, whole[..half as usize]);
        let code = archive.read_range(index, 1, u64::MAX, &mut part).unwrap_err().code;
        assert_eq!(code, Code::BadValue);
        contents.push(whole);
    }
    Ok(contents)
}

#[test]
fn forms_that_are_read() {
    fn check(form: Form) {
        let bytes = build(form);
        assert_eq!(read(bytes.clone()).unwrap(), CONTENTS.map(|(_, content)| content.to_vec()));
        let archive = ZipArchive::open(Arc::new(bytes)).unwrap();
        assert_eq!(archive.has_checksums(), !form.no_checksums);
        assert_eq!(archive.find("a/second"), Some(1));
        let method = if form.deflate { Method::Deflated } else { Method::Stored };
        assert!(archive.entries().iter().all(|entry| entry.method() == method && !entry.is_folder()));
    }
    check(Form::default());
    check(Form { deflate: true, ..Form::default() });
    for descriptor in [12, 16, 20, 24] {
        check(Form { descriptor, ..Form::default() });
        check(Form { descriptor, deflate: true, ..Form::default() });
    }
    check(Form { no_checksums: true, ..Form::default() });
    check(Form { zip64_end: true, ..Form::default() });
    check(Form { comment: b"hello", ..Form::default() });
}

/// Every byte of every variant, changed: the archive is refused or yields the same contents.
#[test]
fn changed_bytes() {
    fn check(form: Form) {
        let original = build(form);
        let expected = CONTENTS.map(|(_, content)| content.to_vec());
        for place in 0..original.len() {
            for bit in 0..8 {
                let mut bytes = original.clone();
                bytes[place] ^= 1 << bit;
                match read(bytes) {
                    Ok(found) => assert_eq!(found, expected, "byte {place}, bit {bit}"),
                    Err(error) => assert!(!error.cause.is_empty()),
                }
            }
        }
    }
    check(Form::default());
    check(Form { deflate: true, ..Form::default() });
    check(Form { descriptor: 16, ..Form::default() });
    check(Form { descriptor: 20, ..Form::default() });
    check(Form { zip64_end: true, ..Form::default() });
}

#[test]
fn refused() {
    fn check(bytes: Vec<u8>, expected: Code) {
        let error = read(bytes).unwrap_err();
        assert_eq!(error.code, expected, "{error}");
    }
    let plain = build(Form::default());
    check(Vec::new(), Code::Truncated);
    check([&plain[..], b"x"].concat(), Code::Truncated);
    check([b"x", &plain[..]].concat(), Code::Malformed);
    check(build(Form { comment: b"PK\x05\x06", ..Form::default() }), Code::Malformed);
    let mut named = plain.clone();
    let names: Vec<usize> = (0..plain.len()).filter(|&at| plain[at..].starts_with(b"a/second")).collect();
    names.iter().for_each(|&at| named[at..at + 8].copy_from_slice(b"../econd"));
    check(named, Code::PathEscape);
    let large = ZipArchive::open(Arc::new(plain)).unwrap().read(0, 10).unwrap_err();
    assert_eq!(large.to_string(), "entry `a/first`: 40 bytes; the limit for this kind of entry is 10");
}
