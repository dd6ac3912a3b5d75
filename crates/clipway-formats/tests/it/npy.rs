//! npy: the corpus, and refusals one by one.

use std::sync::Arc;

use clipway_formats::{Code, Dtype, FileFormat, FormatError, NpyFile, TensorFile};

use crate::corpus;

fn open(bytes: Vec<u8>) -> Result<NpyFile, FormatError> {
    NpyFile::open(Arc::new(bytes))
}

/// Returns a version 1 file with this header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

#[test]
fn corpus_cases_come_out_as_stated() {
    corpus::check("npy", |bytes| Ok(Box::new(open(bytes)?)));
}

#[test]
fn stored_orders_come_out_row_major_and_little_endian() {
    let check = |descr: &str, columns: &str, shape: &str, stored: &[u8], dtype: Dtype, expected: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {columns}, 'shape': {shape}, }}\n");
        let file = open(file(&header, stored)).unwrap_or_else(|error| panic!("{header}: {error}"));
        assert_eq!((file.tensors()[0].dtype, file.format()), (dtype, FileFormat::Npy));
        let mut out = vec![7];
        file.read(0, &mut out).unwrap();
        assert_eq!(out, expected, "{header}");
        let mut pieces = Vec::new();
        file.read_chunks(0, &mut |piece| pieces.extend_from_slice(piece)).unwrap();
        assert_eq!(pieces, expected, "{header}");
    };
    check("<i2", "False", "(2,)", &[1, 0, 2, 0], Dtype::I16, &[1, 0, 2, 0]);
    check(">i2", "False", "(2,)", &[0, 1, 0, 2], Dtype::I16, &[1, 0, 2, 0]);
    check("|u1", "True", "(2, 3)", &[0, 3, 1, 4, 2, 5], Dtype::U8, &[0, 1, 2, 3, 4, 5]);
    check(">u2", "True", "(2, 2)", &[0, 0, 0, 2, 0, 1, 0, 3], Dtype::U16, &[0, 0, 1, 0, 2, 0, 3, 0]);
    check("|b1", "True", "(1, 2, 2)", &[1, 0, 1, 0], Dtype::Bool, &[1, 1, 0, 0]);
    check("<f8", "True", "(0, 3L)", &[], Dtype::F64, &[]);
    check("<f4", "True", "()", &[1, 2, 3, 4], Dtype::F32, &[1, 2, 3, 4]);
}

#[test]
fn bad_files_are_refused() {
    let check = |header: &str, code: Code| {
        let error = open(file(header, &[0; 4])).err().unwrap_or_else(|| panic!("{header} is accepted"));
        assert_eq!(error.code, code, "{header}: {error}");
    };
    let with = |descr: &str, columns: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': {columns}, 'shape': {shape}}}")
    };
    check(&with("'<f4'", "False", "(2,)"), Code::Truncated);
    check(&with("'|u1'", "False", "(2,)"), Code::Malformed);
    check(&with("'|O'", "False", "(1,)"), Code::UnsafePickle);
    check(&with("'|f4'", "False", "(1,)"), Code::Unsupported);
    check(&with("'<c8'", "False", "(1,)"), Code::Unsupported);
    check(&with("[('a', '<f4')]", "False", "(1,)"), Code::Unsupported);
    check(&with("'<\\x664'", "False", "(1,)"), Code::Malformed);
    check(&with("'<f4'", "0", "(1,)"), Code::BadValue);
    for shape in ["(1)", "1", "(01,)", "(1_0,)", "(-1,)", "(,)", "(1,,)", "[1]", "(True,)", "(1 1)"] {
        let error = open(file(&with("'<f4'", "False", shape), &[0; 4])).err();
        assert!(matches!(error.map(|e| e.code), Some(Code::BadValue | Code::Malformed)), "{shape}");
    }
    check(&with("'<f4'", "False", "(99999999999999999999,)"), Code::TooLarge);
    check(&with("'<f4'", "False", "(0, 9223372036854775807)"), Code::TooLarge);
    check(&with("'<f4'", "False", &format!("({})", "1,".repeat(65))), Code::TooLarge);
    let long = with("'<f4'", "False", &format!("({})", "1,".repeat(10_000)));
    let error = open(file(&long, &[])).err().expect("this is refused");
    assert_eq!(error.code, Code::TooLarge);
    assert!(error.to_string().len() < 200, "{error}");
    check("{'descr': '<f4', 'fortran_order': False}", Code::Missing);
    check("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", Code::UnknownKey);
    check("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", Code::Duplicate);
    check("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} {}", Code::Malformed);
    check("{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", Code::Malformed);
    check("", Code::Malformed);
}
