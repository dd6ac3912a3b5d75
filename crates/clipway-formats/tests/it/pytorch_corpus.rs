//! PyTorch files of the corpus, and the real checkpoint next to it.

use std::sync::Arc;

use clipway_formats::{FormatError, PytorchFile, PytorchOptions, TensorFile};

use crate::corpus::{Case, ExpectedTensor, cases, read_tensors, sha256};

fn open(bytes: Vec<u8>) -> Result<PytorchFile, FormatError> {
    PytorchFile::open(Arc::new(bytes), PytorchOptions::default())
}

/// Reads the tensors of a case, whole and in pieces, under names relative to its root.
fn load(case: &Case) -> Result<Vec<ExpectedTensor>, FormatError> {
    let file = open(case.bytes.clone())?;
    let all = read_tensors(&file)?;
    for (index, expected) in all.iter().enumerate() {
        let mut bytes = Vec::new();
        file.read_chunks(index, &mut |piece| bytes.extend_from_slice(piece))?;
        assert_eq!(sha256(&bytes), expected.sha256, "{}: `{}` in pieces", case.path, expected.name);
    }
    let below = all.into_iter().filter_map(|tensor| {
        let name = tensor.name.strip_prefix(&case.root)?.to_owned();
        Some(ExpectedTensor { name, ..tensor })
    });
    Ok(below.collect())
}

/// Checks every case of a PyTorch format.
fn check(format: &str) {
    let Some(cases) = cases(format) else { return };
    let mut wrong = Vec::new();
    for case in cases.iter().filter(|case| case.path.ends_with(".pt")) {
        match (&case.tensors, load(case)) {
            (None, Err(error)) => assert!(!error.cause.is_empty(), "{}", case.path),
            (None, Ok(_)) => wrong.push(format!("{}: accepted", case.path)),
            (Some(_), Err(error)) => wrong.push(format!("{}: refused: {error}", case.path)),
            (Some(expected), Ok(mut found)) => {
                let mut expected: Vec<_> = expected.iter().collect();
                expected.sort();
                found.sort();
                if !expected.iter().copied().eq(&found) {
                    wrong.push(format!("{}: expected {expected:?}, found {found:?}", case.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn zip_files() {
    check("pt");
}

#[test]
fn legacy_files() {
    check("legacy");
}

#[test]
fn hostile_zips() {
    check("zip");
}

#[test]
fn torchscript_files() {
    check("torchscript");
}

#[test]
fn wrong_files() {
    check("wrong-file");
}
