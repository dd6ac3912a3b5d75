//! npz: the corpus, names, compression and damage.

use std::io::Write;
use std::sync::Arc;

use clipway_formats::{Code, Dtype, FileFormat, FormatError, NpzFile, Place, TensorFile};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::corpus;

fn open(bytes: Vec<u8>) -> Result<NpzFile, FormatError> {
    NpzFile::open(Arc::new(bytes))
}

/// Returns an npy file of bytes.
pub fn array(data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({},), }}\n", data.len());
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// Returns a zip archive of entries, each deflated if its flag is set.
pub fn archive(entries: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, content, deflated) in entries {
        let packed = if *deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else {
            content.to_vec()
        };
        let mut fields = vec![20, 0, 0, 0, if *deflated { 8 } else { 0 }, 0, 0, 0, 0x21, 0];
        fields.extend(crc32fast::hash(content).to_le_bytes());
        fields.extend((packed.len() as u32).to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend([name.len() as u8, 0, 0, 0]);
        let offset = (out.len() as u32).to_le_bytes();
        out.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), &packed].concat());
        directory.extend([b"PK\x01\x02\x14\x00", &fields[..], &[0; 10], &offset, name.as_bytes()].concat());
    }
    let (count, start) = (entries.len() as u8, (out.len() as u32).to_le_bytes());
    let length = (directory.len() as u32).to_le_bytes();
    out.extend(
        [&directory[..], b"PK\x05\x06\0\0\0\0", &[count, 0, count, 0], &length, &start, &[0, 0]].concat(),
    );
    out
}

#[test]
fn corpus_cases_come_out_as_stated() {
    corpus::check("npz", |bytes| Ok(Box::new(open(bytes)?)));
}

#[test]
fn arrays_are_named_by_their_entries() {
    let long: Vec<u8> = (0..300_000).map(|index| (index / 1000) as u8).collect();
    let (a, b) = (array(b"xyz"), array(&long));
    let file = open(archive(&[("b.c.npy", &b, true), ("a", &a, false)])).unwrap();
    assert_eq!(file.format(), FileFormat::Npz);
    let mut out = Vec::new();
    for (index, (name, expected)) in [("b.c", &long[..]), ("a", b"xyz")].into_iter().enumerate() {
        let info = &file.tensors()[index];
        assert_eq!((&*info.name, info.dtype, &info.shape[..]), (name, Dtype::U8, &[expected.len()][..]));
        file.read(index, &mut out).unwrap();
        assert!(out == expected, "{name}");
    }
}

#[test]
fn bad_archives_are_refused() {
    let check = |entries: &[(&str, &[u8], bool)], code: Code, place: Place| {
        let error = open(archive(entries)).err().expect("this is refused");
        assert_eq!((error.code, &error.place), (code, &place), "{error}");
    };
    let good = array(b"xyz");
    let entry = |offset: u64| Place::EntryByte("a.npy".to_owned(), offset);
    check(&[], Code::Missing, Place::File);
    check(&[("a", &good, false), ("a.npy", &good, true)], Code::Duplicate, Place::Tensor("a".to_owned()));
    let data = good.len() as u64 - 3;
    for deflated in [false, true] {
        check(&[("a.npy", &good[..good.len() - 1], deflated)], Code::Truncated, entry(data));
        check(&[("a.npy", &[&good[..], b"!"].concat(), deflated)], Code::Malformed, entry(data));
        check(&[("a.npy", b"what is this?", deflated)], Code::UnknownFormat, entry(0));
        check(&[("a.npy", b"", deflated)], Code::Truncated, entry(0));
    }
}

#[test]
fn a_changed_element_is_found_by_its_checksum() {
    for deflated in [false, true] {
        let content = array(b"xyz");
        let mut bytes = archive(&[("a", &content, deflated)]);
        let last = bytes.len() - 22 - 47 - if deflated { 2 } else { 1 };
        bytes[last] ^= 1;
        let error = open(bytes).and_then(|file| file.read(0, &mut Vec::new())).unwrap_err();
        assert!(matches!(error.code, Code::Checksum | Code::Malformed | Code::Truncated), "{error}");
        assert!(deflated || error.code == Code::Checksum, "{error}");
    }
}
