//! Layouts of PyTorch files, and small-step mutations of them.

use std::io::Cursor;
use std::sync::Arc;

use clipway_formats::{
    ByteOrder, Code, Dtype, FileFormat, FormatError, PytorchFile, PytorchOptions, TensorFile, TensorInfo,
    write_pytorch,
};

use crate::corpus::{ExpectedTensor, read_tensors, sha256, shared};
use crate::mutation::mutations;
use crate::pytorch::{archive, global, open, storage, tensor, text, tuple, weights, whole};

/// Magic number, protocol version and system information of the legacy layout.
const LEGACY_START: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fn named(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}", &text("w")[..], value, b"s."].concat()
}

fn read(bytes: Vec<u8>) -> Result<Vec<ExpectedTensor>, FormatError> {
    read_tensors(&open(bytes)?)
}

fn check_six_floats(bytes: Vec<u8>, format: FileFormat) {
    assert_eq!(open(bytes.clone()).unwrap().format(), format);
    let expected =
        ExpectedTensor { name: "w".into(), dtype: Dtype::F32, shape: vec![2, 3], sha256: sha256(&weights()) };
    assert_eq!(read(bytes).unwrap(), [expected]);
}

/// Returns a legacy stream of one value with storage `0`.
fn legacy(value: &[u8]) -> Vec<u8> {
    let pickle = [b"\x80\x02", value, b".\x80\x02]", &text("0")[..], b"a."].concat();
    [LEGACY_START, &pickle, &6u64.to_le_bytes(), &weights()].concat()
}

/// Encodes a tensor in the legacy layout, whose persistent id has a sixth part, the view.
fn legacy_tensor(view: &[u8]) -> Vec<u8> {
    let tensor = whole();
    let id = tensor.windows(4).position(|window| window == b"K\x06tQ").unwrap() + 2;
    [&tensor[..id], view, &tensor[id..]].concat()
}

fn legacy_dict(tensor: &[u8]) -> Vec<u8> {
    legacy(&[b"}", &text("w")[..], tensor, b"s"].concat())
}

#[test]
fn legacy_streams() {
    check_six_floats(legacy_dict(&legacy_tensor(b"N")), FileFormat::PytorchLegacy);
    let whole_view = [b"(", &text("v")[..], b"K\0K\x06t"].concat();
    check_six_floats(legacy_dict(&legacy_tensor(&whole_view)), FileFormat::PytorchLegacy);
    fn check(view: &[u8], expected: Code) {
        let error = open(legacy_dict(&legacy_tensor(view))).err().unwrap();
        assert_eq!(error.code, expected, "{error}");
    }
    check(&[b"(", &text("v")[..], b"K\x01K\x06t"].concat(), Code::Malformed);
    check(&[b"(", &text("v")[..], b"K\0K\x05t"].concat(), Code::Malformed);
    check(b"K\0", Code::Malformed);
    check(b"", Code::Malformed);
}

/// A state dict written by `pickle.dump`: each storage is a legacy stream in bytes.
#[test]
fn plain_pickles() {
    let id = [b"(", &text("storage")[..], &global("torch", "FloatStorage"), &text("0"), &text("cpu")];
    let inner = legacy(&[&id.concat()[..], b"K\x06NtQ"].concat());
    let length = (inner.len() as u32).to_le_bytes();
    let nested = [b"ctorch.storage\n_load_from_bytes\n(B", &length[..], &inner, b"tR"].concat();
    let parts =
        [b"ctorch._utils\n_rebuild_tensor_v2\n(", &nested[..], b"K\0", &tuple(&[2, 3]), &tuple(&[3, 1])];
    let tensor = [&parts.concat()[..], b"\x89}tR"].concat();
    check_six_floats(named(&tensor), FileFormat::Pickle);
    // PyTorch never writes such a call inside an archive.
    let inside = archive(&[("a/data.pkl", &named(&tensor)), ("a/version", b"3\n")]);
    assert_eq!(open(inside).err().unwrap().code, Code::UnsafePickle);
}

/// Returns a tar archive of plain files.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend(header);
        out.extend(*content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// Returns the members of a tar archive with one tensor, `w`, on part of a storage.
fn tar_members() -> Vec<(&'static str, Vec<u8>)> {
    let id = |key: u8, rest: &[u8], class: &str| {
        [&[b'(', b'K', key], rest, &global("torch", class)[..], b"t."].concat()
    };
    let mut floats = 0f32.to_le_bytes().to_vec();
    floats.extend(weights());
    let storages = [b"K\x01.", &id(11, &text("cpu"), "FloatStorage")[..], &7u64.to_le_bytes(), &floats];
    let views = b"]((K\x16K\x0bK\x01K\x06te.".to_vec();
    let storages = [storages.concat(), views].concat();
    let numbers = [2u64, 2, 3, 3, 1, 0].map(u64::to_le_bytes);
    let tensors = [b"K\x01.", &id(33, b"K\x16", "FloatTensor")[..], numbers.as_flattened()].concat();
    let pickle = [b"\x80\x02}", &text("w")[..], b"K\x21Qs."].concat();
    vec![("sys_info", b"}.".to_vec()), ("pickle", pickle), ("tensors", tensors), ("storages", storages)]
}

fn tar_of(members: &[(&'static str, Vec<u8>)]) -> Vec<u8> {
    tar(&members.iter().map(|(name, content)| (*name, &content[..])).collect::<Vec<_>>())
}

#[test]
fn tar_archives() {
    check_six_floats(tar_of(&tar_members()), FileFormat::PytorchTar);
    fn check(change: impl FnOnce(&mut Vec<(&'static str, Vec<u8>)>), expected: Code) {
        let mut members = tar_members();
        change(&mut members);
        let error = open(tar_of(&members)).err().unwrap();
        assert_eq!(error.code, expected, "{error}");
    }
    check(|members| drop(members.remove(2)), Code::Missing);
    check(|members| members.push(("pickle", b"N.".to_vec())), Code::Duplicate);
    check(|members| members.push(("../x", Vec::new())), Code::PathEscape);
    check(|members| members[0].1.push(b'.'), Code::Malformed);
    check(|members| members[1].1[10] = 0x22, Code::Malformed);
    check(|members| members[3].1.truncate(60), Code::Truncated);
}

#[test]
fn torchscript() {
    let module = [b"\x80\x02c__torch__\nM\n)\x81}", &text("w")[..], &whole(), b"sb."].concat();
    let constants = [b"\x80\x02(", &tensor(0, &[1], &[1])[..], b"t."].concat();
    let mut entries = vec![
        ("m/data.pkl", module),
        ("m/data/0", weights()),
        ("m/code/__torch__.py", b"import os".to_vec()),
        ("m/constants.pkl", constants),
        ("m/constants/0", [0; 24].to_vec()),
        ("m/.data/version", b"10\n".to_vec()),
    ];
    let build = |entries: &[(&str, Vec<u8>)]| {
        archive(&entries.iter().map(|(name, content)| (*name, &content[..])).collect::<Vec<_>>())
    };
    let file = open(build(&entries)).unwrap();
    let names: Vec<&str> = file.tensors().iter().map(|info| info.name.as_str()).collect();
    assert_eq!((file.format(), names), (FileFormat::TorchScript, vec!["w", "CONSTANTS.c0"]));
    assert_eq!((file.writer().version, file.storage_of(0), file.storage_of(1)), (Some(10), 0, 1));
    entries.remove(3);
    assert_eq!(open(build(&entries)).err().unwrap().code, Code::Missing);
}

#[test]
fn records() {
    let pickle = named(&whole());
    let open_with = |records: &[(&str, &[u8])]| {
        let data = weights();
        open(archive(&[&[("a/data.pkl", &pickle[..]), ("a/data/0", &data)], records].concat()))
    };
    let check = |records: &[(&str, &[u8])], expected: Code| {
        assert_eq!(open_with(records).err().unwrap().code, expected, "{records:?}");
    };
    let version: (&str, &[u8]) = ("a/version", b"3\n");
    check(&[], Code::Missing);
    check(&[("a/version", b"x")], Code::BadValue);
    check(&[("a/version", b"11")], Code::BadValue);
    check(&[version, ("a/.data/version", b"4")], Code::BadValue);
    check(&[version, ("a/byteorder", b"middle")], Code::BadValue);
    check(&[version, ("a/VERSION", b"3")], Code::Duplicate);
    check(&[version, ("b/x", b"")], Code::Malformed);
    check(&[version, ("x", b"")], Code::UnknownFormat);
    let file = open_with(&[version, ("a/byteorder", b"big")]).unwrap();
    assert_eq!((file.writer().byte_order, file.writer().byte_order_stated), (ByteOrder::Big, true));
    let mut bytes = Vec::new();
    file.read(0, &mut bytes).unwrap();
    let swapped: Vec<u8> = weights().chunks(4).flat_map(|value| value.iter().rev().copied()).collect();
    assert_eq!(bytes, swapped);
}

#[test]
fn other_files() {
    fn check(bytes: &[u8], expected: &str) {
        let error = open(bytes.to_vec()).err().unwrap();
        assert_eq!(error.to_string(), format!("file: not a PyTorch file: {expected}"));
    }
    check(b"", "the file is empty");
    check(b"GGUF\x03\0\0\0", "a GGUF file");
    check(b"\x93NUMPY\x01\0", "a numpy array");
    check(b"\x08\0\0\0\0\0\0\0{}      ", "it looks like safetensors");
    check(b"hello\n", "a text");
    check(b"\x01\x02", "its first bytes match no known layout");
    // What PyTorch and NumPy write, but holds no tensors.
    let arrays = named(&global("numpy.core.multiarray", "_reconstruct"));
    let error = open(arrays).err().unwrap();
    assert_eq!(error.code, Code::Unsupported);
    assert!(error.to_string().contains("NumPy arrays and no tensors"), "{error}");
    let program =
        archive(&[("a/archive_format", b"pt2"), ("a/version", b"0"), ("a/models/model.json", b"{}")]);
    let error = open(program).err().unwrap();
    assert_eq!(error.code, Code::Unsupported);
    assert!(error.to_string().contains("a program of `torch.export`, not a checkpoint"), "{error}");
}

fn small_file() -> Vec<u8> {
    let info = |name: &str, shape: &[usize]| TensorInfo {
        name: name.into(),
        dtype: Dtype::F32,
        shape: shape.into(),
    };
    let mut out = Cursor::new(Vec::new());
    let tensors = [info("weight", &[2, 3]), info("bias", &[3])];
    write_pytorch(&mut out, &tensors, |index, out| out.write_all(&weights()[..tensors[index].bytes()]))
        .unwrap();
    out.into_inner()
}

/// Every significant byte has a checksum or a second copy, so no mutation may yield other tensors.
#[test]
fn mutated_archives() {
    let original = small_file();
    let expected = read(original.clone()).unwrap();
    let (mut refused, mut same) = (0, 0);
    for mutated in mutations(&original) {
        match read(mutated) {
            Err(_) => refused += 1,
            Ok(found) => {
                assert_eq!(found, expected);
                same += 1;
            }
        }
    }
    assert!(refused > same && same > 0, "{refused} refused, {same} the same");
}

/// The older layouts have no checksums: a mutation may change a value or a name, but nothing panics, and the tensors
/// never outgrow the file.
#[test]
fn mutated_streams_and_tars() {
    for original in [legacy_dict(&legacy_tensor(b"N")), tar_of(&tar_members())] {
        let opened = mutations(&original).into_iter().filter_map(|mutated| read(mutated).ok());
        let elements = opened.map(|tensors| tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum());
        let most: usize = elements.max().unwrap();
        assert!(most <= 6, "{most}");
    }
}

/// The trainer's own checkpoint: weights, optimizer state and epoch.
#[test]
fn a_real_checkpoint() {
    let Some(folder) = shared() else { return };
    let bytes = std::fs::read(folder.join("emoji-clip/epoch_10.pt")).unwrap();
    let file = PytorchFile::open(Arc::new(bytes), PytorchOptions::default()).unwrap();
    let below = |prefix: &str| file.tensors().iter().filter(|info| info.name.starts_with(prefix)).count();
    assert_eq!((below("state_dict."), below("optimizer.state."), file.tensors().len()), (134, 402, 536));
    let value = file.value();
    assert_eq!(value.get("epoch").unwrap().as_int(), Some(10));
    assert_eq!(value.get("name").unwrap().as_str(), Some("emoji"));
    assert_eq!(value.get("state_dict").unwrap().entries().count(), 134);
    assert!(file.globals().iter().all(|global| global.kind.name() == "known"));
    let mut out = Vec::new();
    (0..536).for_each(|index| file.read(index, &mut out).unwrap());
}

#[test]
fn a_storage_is_not_a_tensor() {
    let bytes = archive(&[
        ("a/data.pkl", &named(&storage("FloatStorage", "0", 6))),
        ("a/data/0", &weights()),
        ("a/version", b"3"),
    ]);
    assert_eq!(open(bytes).err().unwrap().code, Code::Missing);
}
