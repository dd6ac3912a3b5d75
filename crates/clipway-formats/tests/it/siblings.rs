//! Variants of known attacks on archives, drawn from a seed: views by deflation, entries by size.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clipway_formats::{Code, FormatError, NpzFile, PytorchFile, PytorchOptions, ReadAt, TensorFile};

use crate::npz::{archive, array};
use crate::pytorch::{checkpoint, global, open, text, whole};

/// A byte source that counts how many bytes are read.
struct Counted {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.bytes.read_exact_at(offset, buffer)
    }
}

/// Pseudorandom numbers from a seed, by Marsaglia's xorshift.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The contents of a storage, and the start and length of each view.
type Storage = (Vec<u8>, Vec<(usize, usize)>);

fn int(value: usize) -> Vec<u8> {
    [b"J", &(value as i32).to_le_bytes()[..]].concat()
}

/// Encodes a byte tensor on storage `key` of `length` bytes, starting at `start`.
fn view(key: usize, length: usize, start: usize, count: usize) -> Vec<u8> {
    let storage = [
        b"(".to_vec(),
        text("storage"),
        global("torch", "ByteStorage"),
        text(&key.to_string()),
        text("cpu"),
        int(length),
        b"tQ".to_vec(),
    ];
    let rebuild = global("torch._utils", "_rebuild_tensor_v2");
    let size = [b"(", &int(count)[..], b"t(", &int(1), b"t"].concat();
    [&rebuild[..], b"(", &storage.concat(), &int(start), &size, b"\x89}tR"].concat()
}

/// Returns a PyTorch archive of storages with their views, deflated if requested.
fn pytorch(storages: &[Storage], deflated: bool) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    for (key, (content, views)) in storages.iter().enumerate() {
        for (number, &(start, count)) in views.iter().enumerate() {
            pickle.extend(text(&format!("{key}.{number}")));
            pickle.extend(view(key, content.len(), start, count));
        }
    }
    pickle.extend(b"u.");
    let names: Vec<String> = (0..storages.len()).map(|key| format!("a/data/{key}")).collect();
    let mut entries: Vec<(&str, &[u8], bool)> =
        vec![("a/data.pkl", &pickle, deflated), ("a/version", b"3\n", false)];
    entries.extend(names.iter().zip(storages).map(|(name, (content, _))| (&**name, &**content, deflated)));
    archive(&entries)
}

fn open_counted(bytes: Vec<u8>) -> (Arc<Counted>, Result<PytorchFile, FormatError>) {
    let source = Arc::new(Counted { bytes, read: AtomicU64::new(0) });
    let file = PytorchFile::open(source.clone(), PytorchOptions::default());
    (source, file)
}

#[test]
fn stored_bytes_are_inflated_once_however_many_views_they_have() {
    let mut draw = Draw(14);
    for case in 0..24 {
        let deflated = case % 2 == 0;
        let storages: Vec<Storage> = (0..1 + draw.below(3))
            .map(|_| {
                let length = 1000 + draw.below(40_000) as usize;
                let content = (0..length).map(|_| draw.below(256) as u8).collect();
                let views = (0..1 + draw.below(60)).map(|_| {
                    let start = draw.below(length as u64) as usize;
                    (start, draw.below((length - start) as u64) as usize)
                });
                (content, views.collect())
            })
            .collect();
        let bytes = pytorch(&storages, deflated);
        let size = bytes.len() as u64;
        let (source, file) = open_counted(bytes);
        let file = file.unwrap();
        let mut out = Vec::new();
        let mut index = 0;
        let mut viewed = 0;
        for (content, views) in &storages {
            for &(start, count) in views {
                file.read(index, &mut out).unwrap();
                assert!(out == content[start..start + count], "case {case}, tensor {index}");
                index += 1;
                viewed += count as u64;
            }
        }
        let read = source.read.load(Ordering::Relaxed);
        // Stored views are read in place; each byte of a deflated entry is read once; directory and headers come on
        // top.
        let most = if deflated { 3 * size } else { 3 * size + viewed };
        assert!(read <= most, "case {case}: {read} bytes are read of {size}");
    }
}

#[test]
fn an_archive_that_inflates_to_far_more_than_it_stores_is_refused_whole() {
    let refused = |result: Result<PytorchFile, FormatError>, part: &str| {
        let error = result.err().expect(part);
        assert_eq!(error.code, Code::TooLarge, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    let zeros = |count: usize, length: usize| -> Vec<Storage> {
        (0..count).map(|_| (vec![0; length], vec![(0, length)])).collect()
    };
    // 32 MiB in total are allowed, however small the entries; 40 MiB are not, whether in one entry or many.
    assert!(open_counted(pytorch(&zeros(30, 1 << 20), true)).1.is_ok());
    assert!(open_counted(pytorch(&zeros(40, 1 << 20), false)).1.is_ok());
    for (count, length) in [(40, 1 << 20), (1, 40 << 20), (200, 200 << 10)] {
        let bytes = pytorch(&zeros(count, length), true);
        let size = bytes.len() as u64;
        let (source, file) = open_counted(bytes);
        refused(file, "inflate to");
        assert!(source.read.load(Ordering::Relaxed) <= 2 * size, "contents were read");
    }
    let (large, small) = (array(&vec![0; 40 << 20]), array(&[0; 9]));
    let npz = archive(&[("a.npy", &small, true), ("b.npy", &large, true)]);
    let error = NpzFile::open(Arc::new(npz)).err().expect("this is refused");
    assert_eq!(error.code, Code::TooLarge, "{error}");
}

/// Claims in both headers of an entry that it inflates to `size` bytes.
fn claim(archive: &mut [u8], name: &str, size: u32) {
    let mut claims = 0;
    for at in 30..archive.len() - name.len() {
        if !archive[at..].starts_with(name.as_bytes()) {
            continue;
        }
        for (header, signature, field) in [(30, b"PK\x03\x04", 22), (46, b"PK\x01\x02", 24)] {
            if let Some(start) = at.checked_sub(header)
                && archive[start..].starts_with(signature)
            {
                archive[start + field..start + field + 4].copy_from_slice(&size.to_le_bytes());
                claims += 1;
            }
        }
    }
    assert_eq!(claims, 2, "{name}");
}

#[test]
fn deflated_storages_that_tensors_share_are_kept_up_to_a_limit() {
    const LIMIT: usize = 512 << 20;
    // Deflated entries inflate to eight times their bytes, and 32 MiB.
    let mut draw = Draw(512);
    let noise: Vec<u8> = (0..31 << 20).map(|_| draw.below(256) as u8).collect();
    let open = |sizes: [usize; 2], uses: usize| {
        // The pickle's lengths and the headers' sizes agree; the contents are never read.
        let mut pickle = b"\x80\x02}(".to_vec();
        for (key, &size) in sizes.iter().enumerate() {
            for number in 0..uses {
                pickle.extend(text(&format!("{key}.{number}")));
                pickle.extend(view(key, size, number, 1));
            }
        }
        pickle.extend(b"u.");
        let mut bytes = archive(&[
            ("a/data.pkl", &pickle, false),
            ("a/version", b"3\n", false),
            ("a/data/0", &noise, true),
            ("a/data/1", &noise, true),
        ]);
        for (key, &size) in sizes.iter().enumerate() {
            claim(&mut bytes, &format!("a/data/{key}"), size as u32);
        }
        open_counted(bytes).1
    };
    // What one tensor uses is not kept.
    let unshared = open([LIMIT / 2, LIMIT / 2 + 1], 1).map(|_| ());
    assert!(unshared.is_ok(), "{unshared:?}");
    let error = open([LIMIT / 2, LIMIT / 2 + 1], 2).err().expect("the limit is exceeded");
    assert_eq!(error.code, Code::TooLarge, "{error}");
    assert!(error.to_string().contains("share have more than 536870912 bytes"), "{error}");
}

#[test]
fn a_deflated_pickle_makes_as_many_values_as_its_stored_bytes_allow() {
    let pickle = |lists: usize| {
        [b"\x80\x02}(", &text("w")[..], &whole(), &text("x"), b"](", &b"]".repeat(lists), b"eu."].concat()
    };
    let content: Vec<u8> = (1..=6u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    let file = |pickle: &[u8], deflated: bool| {
        open(archive(&[
            ("a/data.pkl", pickle, deflated),
            ("a/data/0", &content, false),
            ("a/version", b"3\n", false),
        ]))
    };
    let code = |result: Result<PytorchFile, FormatError>| result.err().map(|error| error.code);
    // Nested lists, so that the stack stays short.
    let nested = |count: usize| {
        let lists = b"(]]]]]]]]]]l".repeat(count / 11);
        [
            b"\x80\x02}(",
            &text("w")[..],
            &whole(),
            &text("x"),
            b"]",
            &lists
                .iter()
                .flat_map(|&byte| if byte == b'l' { vec![b'l', b'a'] } else { vec![byte] })
                .collect::<Vec<u8>>(),
            b"u.",
        ]
        .concat()
    };
    let many = nested(640_000);
    assert_eq!(code(file(&many, false)), None, "{} bytes are stored", many.len());
    assert_eq!(code(file(&many, true)), Some(Code::TooLarge));
    assert_eq!(code(file(&nested(500_000), true)), None);
    assert_eq!(code(file(&pickle(1000), true)), None);
    // The pickle itself may inflate to 4 MiB plus 16 times its size.
    let padded = |length: usize| {
        [b"\x80\x02}(", &text("w")[..], &whole(), &text("x"), &text(&"a".repeat(length)), b"u."].concat()
    };
    assert_eq!(code(file(&padded(4 << 20), true)), None);
    assert_eq!(code(file(&padded(5 << 20), true)), Some(Code::TooLarge));
    assert_eq!(code(file(&padded(5 << 20), false)), None);
}

#[test]
fn a_key_twice_is_refused_whatever_its_kind() {
    let with = |keys: &[Vec<u8>]| {
        let pairs: Vec<u8> = keys.iter().flat_map(|key| [&key[..], &whole()].concat()).collect();
        open(checkpoint(&[b"\x80\x02}(", &text("d")[..], b"}(", &pairs, b"uu."].concat()))
    };
    let float = |value: f64| [b"G", &value.to_be_bytes()[..]].concat();
    let (one, yes, none) = (b"K\x01".to_vec(), b"\x88".to_vec(), b"N".to_vec());
    let tuple = |parts: &[Vec<u8>]| [b"(", &parts.concat()[..], b"t"].concat();
    let big = |value: i128| [b"\x8a\x10", &value.to_le_bytes()[..]].concat();
    let class = || global("torch", "FloatStorage");
    let same: [(Vec<u8>, Vec<u8>); 12] = [
        (one.clone(), one.clone()),
        (one.clone(), float(1.0)),
        (yes.clone(), float(1.0)),
        (float(1.5), float(1.5)),
        (float(-0.0), b"\x89".to_vec()),
        (float(f64::INFINITY), float(f64::INFINITY)),
        (none.clone(), none.clone()),
        (big(1 << 100), float(2f64.powi(100))),
        (class(), class()),
        (tuple(&[]), tuple(&[])),
        (tuple(&[one.clone(), text("a")]), tuple(&[float(1.0), text("a")])),
        (
            tuple(&[tuple(std::slice::from_ref(&none)), yes]),
            tuple(&[tuple(std::slice::from_ref(&none)), one.clone()]),
        ),
    ];
    for (first, second) in same {
        let error = with(&[first.clone(), second]).err().unwrap_or_else(|| panic!("{first:?} twice"));
        assert_eq!(error.code, Code::Duplicate, "{first:?}: {error}");
    }
    let different = [
        one.clone(),
        float(1.5),
        none.clone(),
        float(f64::NAN),
        float(f64::NAN),
        tuple(std::slice::from_ref(&one)),
        tuple(&[none]),
        big(1 << 100),
        big(1 << 101),
        class(),
        text("a"),
    ];
    assert_eq!(with(&different).unwrap().tensors().len(), different.len());
}

#[test]
fn an_extra_field_does_not_rename_an_entry() {
    let plain = archive(&[("a/data.pkl", b"N.", false), ("a/version", b"3\n", false)]);
    let name = b"a/version";
    let block = |name: &[u8]| {
        [
            &0x7075u16.to_le_bytes()[..],
            &(name.len() as u16 + 5).to_le_bytes(),
            b"\x01",
            &crc32fast::hash(b"a/version").to_le_bytes(),
            name,
        ]
        .concat()
    };
    // Adds an extra field after the name of the last entry: in its header, in the directory, or in both.
    let with = |extra: &[u8], local: bool, central: bool| {
        let mut bytes = plain.clone();
        let last = |bytes: &[u8], magic: &[u8]| bytes.windows(4).rposition(|window| window == magic).unwrap();
        let put = |bytes: &mut Vec<u8>, header: usize, length_at: usize, name_at: usize| {
            bytes[header + length_at..header + length_at + 2]
                .copy_from_slice(&(extra.len() as u16).to_le_bytes());
            let at = header + name_at + name.len();
            bytes.splice(at..at, extra.iter().copied());
        };
        let mut moved = 0;
        if local {
            let header = last(&bytes, b"PK\x03\x04");
            put(&mut bytes, header, 28, 30);
            moved = extra.len() as u32;
        }
        let mut grown = 0;
        if central {
            let header = last(&bytes, b"PK\x01\x02");
            put(&mut bytes, header, 30, 46);
            grown = extra.len() as u32;
        }
        let end = last(&bytes, b"PK\x05\x06");
        for (at, more) in [(12, grown), (16, moved)] {
            let field = end + at..end + at + 4;
            let value = u32::from_le_bytes(bytes[field.clone()].try_into().unwrap()) + more;
            bytes[field].copy_from_slice(&value.to_le_bytes());
        }
        clipway_formats::ZipArchive::open(Arc::new(bytes)).err().map(|error| (error.code, error.to_string()))
    };
    for (local, central) in [(true, false), (false, true), (true, true)] {
        assert_eq!(with(&block(name), local, central), None);
        for other in [&b"a/data.pkl"[..], b"../x", b"", b"a/version\0"] {
            let (code, message) = with(&block(other), local, central).expect("this is refused");
            assert_eq!(code, Code::Malformed);
            assert!(message.contains("the other name"), "{message}");
        }
    }
}
