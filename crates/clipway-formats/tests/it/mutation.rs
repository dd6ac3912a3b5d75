//! Small-step mutation: a changed file is either refused or yields the original tensors.

use std::sync::Arc;

use clipway_formats::{
    Code, Dtype, FormatError, NpyFile, NpzFile, OnnxFile, Place, SafetensorsFile, TensorFile, TensorInfo,
    write_safetensors,
};

use crate::corpus::{ExpectedTensor, read_tensors};
use crate::npz::{archive, array};
use crate::onnx::{bytes, model, tensor};

/// The outcome of all mutations of one file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    refused: usize,
    same: usize,
    /// Other values under the same names, dtypes and shapes.
    values: usize,
    /// Other names, same dtypes and shapes.
    names: usize,
    /// Other dtypes or shapes.
    kinds: usize,
}

/// Returns every truncation, every single-bit flip, every byte set to 00 and FF, and every 8 bytes set to a few
/// numbers.
pub fn mutations(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..bytes.len()).map(|length| bytes[..length].to_vec()).collect();
    for place in 0..bytes.len() {
        let mut with = |byte: u8| {
            let mut copy = bytes.to_vec();
            copy[place] = byte;
            all.push(copy);
        };
        (0..8).for_each(|bit| with(bytes[place] ^ 1 << bit));
        [0, 0xff].into_iter().for_each(with);
    }
    for place in 0..bytes.len().saturating_sub(7) {
        for number in [0, 1, 1 << 31, 1 << 63, u64::MAX] {
            let mut copy = bytes.to_vec();
            copy[place..place + 8].copy_from_slice(&u64::to_le_bytes(number));
            all.push(copy);
        }
    }
    all
}

fn run(original: &[u8], open: impl Fn(Vec<u8>) -> Result<Vec<ExpectedTensor>, FormatError>) -> Outcome {
    let expected = open(original.to_vec()).unwrap();
    let mut outcome = Outcome::default();
    for mutated in mutations(original) {
        match open(mutated) {
            Err(_) => outcome.refused += 1,
            Ok(found) if found == expected => outcome.same += 1,
            Ok(found) => {
                let kinds = |all: &[ExpectedTensor]| {
                    all.iter().map(|tensor| (tensor.dtype, tensor.shape.clone())).collect::<Vec<_>>()
                };
                let names = |all: &[ExpectedTensor]| all.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
                if kinds(&found) != kinds(&expected) {
                    outcome.kinds += 1;
                } else if names(&found) != names(&expected) {
                    outcome.names += 1;
                } else {
                    outcome.values += 1;
                }
            }
        }
    }
    outcome
}

/// The format has no checksum, so a change in a weight or in a letter of a name goes unnoticed. The counts are exact:
/// every change of a dtype or a shape is refused, and the mutations that change nothing only touch whitespace.
#[test]
fn safetensors() {
    let info = |name: &str, shape: &[usize]| TensorInfo {
        name: name.into(),
        dtype: Dtype::F32,
        shape: shape.into(),
    };
    let tensors = [info("weight", &[2, 3]), info("bias", &[3])];
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &tensors, &[], |index| Ok(vec![1; tensors[index].bytes()])).unwrap();
    let outcome = run(&bytes, |bytes| {
        let file = SafetensorsFile::open(Arc::new(bytes))?;
        read_tensors(&file as &dyn TensorFile)
    });
    assert_eq!(outcome, Outcome { refused: 2009, same: 7, values: 505, names: 68, kinds: 0 });
}

#[test]
fn npy() {
    // The header takes 54 bytes.
    let original =
        b"\x93NUMPY\x01\x00\x36\x00{'descr':'<f4','fortran_order':False,'shape':(2,1)}  \n12345678";
    let outcome = run(original, |bytes| read_tensors(&NpyFile::open(Arc::new(bytes))?));
    assert_eq!(outcome, Outcome { refused: 1029, same: 2, values: 86, names: 0, kinds: 0 });
}

/// Every significant byte of a zip archive is duplicated or covered by a checksum.
#[test]
fn npz() {
    for deflated in [false, true] {
        let (a, b) = (array(b"a tensor"), array(b"another"));
        let outcome = run(&archive(&[("a.npy", &a, deflated), ("b.npy", &b, deflated)]), |bytes| {
            read_tensors(&NpzFile::open(Arc::new(bytes))?)
        });
        assert_eq!((outcome.values, outcome.names, outcome.kinds), (0, 0, 0), "{outcome:?}");
        assert!(outcome.refused > 4000, "{outcome:?}");
    }
}

/// No checksum here either, but a name also appears where it is used, so a changed name is detected.
#[test]
fn onnx() {
    let weight = [tensor(1, &[2, 1]), bytes(9, b"12345678")].concat();
    let outcome = run(&model(&[weight]), |bytes| {
        let absent = FormatError::new(Code::Io, Place::File, "no file");
        read_tensors(&OnnxFile::open(Arc::new(bytes), &mut |_| Err(absent.clone()))?)
    });
    assert_eq!(outcome, Outcome { refused: 1025, same: 87, values: 85, names: 0, kinds: 0 });
}
