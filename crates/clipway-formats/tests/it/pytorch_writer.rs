//! Files written by the PyTorch writer.

use std::io::{self, Cursor, Write};
use std::sync::Arc;

use clipway_formats::{
    Dtype, FileFormat, PytorchFile, PytorchOptions, TensorFile, TensorInfo, ZipArchive, write_pytorch,
};

fn info(name: &str, dtype: Dtype, shape: &[usize]) -> TensorInfo {
    TensorInfo { name: name.into(), dtype, shape: shape.into() }
}

/// Returns bytes that differ from tensor to tensor.
fn content(index: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + index * 7 + 1) as u8).collect()
}

fn write(tensors: &[TensorInfo]) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    write_pytorch(&mut out, tensors, |index, out| out.write_all(&content(index, tensors[index].bytes())))
        .unwrap();
    assert_eq!(out.position(), out.get_ref().len() as u64);
    out.into_inner()
}

fn check_round_trip(tensors: &[TensorInfo]) -> Vec<u8> {
    let bytes = write(tensors);
    assert_eq!(bytes, write(tensors), "the same tensors give the same bytes");
    let file = PytorchFile::open(Arc::new(bytes.clone()), PytorchOptions::default()).unwrap();
    assert_eq!(file.format(), FileFormat::PytorchZip);
    assert!(file.writer().has_checksums && !file.writer().compressed);
    assert_eq!(file.tensors(), tensors);
    let mut out = Vec::new();
    for (index, info) in tensors.iter().enumerate() {
        file.read(index, &mut out).unwrap();
        assert_eq!(out, content(index, info.bytes()), "{}", info.name);
        assert_eq!(file.shares_storage(index), None);
    }
    bytes
}

#[test]
fn every_dtype_and_shape() {
    let mut tensors: Vec<TensorInfo> =
        Dtype::ALL.into_iter().map(|dtype| info(&format!("a.{dtype}"), dtype, &[2, 3])).collect();
    tensors.push(info("scalar", Dtype::F32, &[]));
    tensors.push(info("empty", Dtype::F32, &[3, 0, 2]));
    tensors.push(info("", Dtype::F32, &[1]));
    tensors.push(info("重み", Dtype::U8, &[70_000]));
    check_round_trip(&tensors);
}

#[test]
fn more_tensors_than_one_batch() {
    let tensors: Vec<TensorInfo> =
        (0..2500).map(|index| info(&format!("t{index}"), Dtype::F16, &[index % 5])).collect();
    check_round_trip(&tensors);
}

#[test]
fn contents_are_aligned() {
    let tensors = [info("a", Dtype::U8, &[3]), info("b", Dtype::F32, &[5])];
    let archive = ZipArchive::open(Arc::new(write(&tensors))).unwrap();
    let names: Vec<&str> = archive.entries().iter().map(|entry| entry.name()).collect();
    assert_eq!(
        names,
        [
            "archive/data.pkl",
            "archive/byteorder",
            "archive/data/0",
            "archive/data/1",
            "archive/version",
            "archive/.data/serialization_id"
        ]
    );
    for entry in archive.entries() {
        assert_eq!(entry.data_offset() % 64, 0, "{}", entry.name());
    }
}

#[test]
fn refused() {
    fn check(tensors: &[TensorInfo], given: usize, expected: &str) {
        let result =
            write_pytorch(&mut Cursor::new(Vec::new()), tensors, |_, out| out.write_all(&vec![0; given]));
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::InvalidInput, expected));
    }
    let twice = [info("a", Dtype::U8, &[1]), info("a", Dtype::U8, &[1])];
    check(&twice, 1, "tensor `a`: the name occurs twice");
    check(&[info("a\0", Dtype::U8, &[1])], 1, "tensor `a\\u{0}`: the name has a control character");
    check(&[info("a", Dtype::F64, &[1 << 61])], 1, "tensor `a`: the size overflows");
    let one = [info("a", Dtype::F32, &[2])];
    check(&one, 7, "tensor `a`: entry `archive/data/0` lacks 1 of its 8 bytes");
    check(&one, 9, "tensor `a`: 1 bytes more than the entry's size");
}

#[test]
fn a_failing_source_is_reported() {
    let tensors = [info("a", Dtype::F32, &[2])];
    let result = write_pytorch(&mut Cursor::new(Vec::new()), &tensors, |_, _| Err(io::Error::other("gone")));
    assert_eq!(result.unwrap_err().to_string(), "gone");
}

/// The archive may start anywhere in the output.
#[test]
fn after_other_bytes() {
    let tensors = [info("a", Dtype::F32, &[2])];
    let mut out = Cursor::new(Vec::new());
    out.write_all(b"before").unwrap();
    write_pytorch(&mut out, &tensors, |_, out| out.write_all(&content(0, 8))).unwrap();
    assert_eq!(out.get_ref()[6..], write(&tensors));
}
