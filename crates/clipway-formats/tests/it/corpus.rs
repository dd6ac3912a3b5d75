//! The corpus of hostile and odd files that lives next to the repository.

use std::path::PathBuf;

use clipway_formats::{Dtype, FormatError, Json, JsonCursor, JsonLimits, TensorFile};
use sha2::{Digest, Sha256};

/// A file of the corpus and the expected result of opening it.
pub struct Case {
    /// Path within the corpus.
    pub path: String,
    /// Contents of the file.
    pub bytes: Vec<u8>,
    /// Dictionary keys, each followed by `.`, under which the tensor names lie.
    pub root: String,
    /// The expected tensors, or `None` if the file must be refused.
    pub tensors: Option<Vec<ExpectedTensor>>,
}

/// A tensor as listed in the manifest.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpectedTensor {
    /// Full name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// SHA-256 of the row-major little-endian bytes, in lowercase hexadecimal.
    pub sha256: String,
}

/// Returns the folder of shared files next to the repository, if it exists.
pub fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let folder = std::env::var_os("CLIPWAY_SHARED").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no shared files at {}", folder.display());
    None
}

/// Returns the cases of one format, or `None` (reported on stderr) if the corpus is absent.
pub fn cases(format: &str) -> Option<Vec<Case>> {
    let folder = shared()?.join("corpus");
    let manifest = std::fs::read(folder.join("manifest.json")).expect("the manifest can be read");
    let limits = JsonLimits { bytes: 1 << 26, depth: 128, values: 1 << 20, byte_order_mark: false };
    let manifest = Json::parse(&manifest, limits).expect("the manifest is strict JSON");
    let root = manifest.root();
    let files = root.require("files").unwrap();
    let mut cases = Vec::new();
    for file in files.items().unwrap() {
        let text = |key: &str| file.require(key).unwrap().string().unwrap();
        if text("format") != format {
            continue;
        }
        let path = text("path").to_owned();
        let tensors = match text("expectation") {
            "load" => Some(expected_tensors(&file)),
            _ => None,
        };
        let bytes = std::fs::read(folder.join(&path)).expect("the file of a case can be read");
        let keys = file.get("root").unwrap();
        let keys = keys.map_or_else(Vec::new, |keys| keys.items().unwrap().collect());
        let root = keys.iter().map(|key| format!("{}.", key.string().unwrap())).collect();
        cases.push(Case { path, bytes, root, tensors });
    }
    assert!(!cases.is_empty(), "the manifest has no case of {format}");
    Some(cases)
}

fn expected_tensors(file: &JsonCursor<'_>) -> Vec<ExpectedTensor> {
    let Some(tensors) = file.get("tensors").unwrap() else { return Vec::new() };
    let tensors = tensors.members().unwrap().map(|(name, tensor)| {
        let text = |key: &str| tensor.require(key).unwrap().string().unwrap();
        let shape = tensor.require("shape").unwrap();
        ExpectedTensor {
            name: name.to_owned(),
            dtype: Dtype::from_name(text("dtype")).expect("a known dtype"),
            shape: shape.items().unwrap().map(|n| n.integer(0, usize::MAX).unwrap()).collect(),
            sha256: text("sha256").to_owned(),
        }
    });
    tensors.collect()
}

/// Reads every tensor of a file, in the form of the manifest.
pub fn read_tensors(file: &dyn TensorFile) -> Result<Vec<ExpectedTensor>, FormatError> {
    let mut bytes = Vec::new();
    let mut tensors = Vec::new();
    for (index, info) in file.tensors().iter().enumerate() {
        file.read(index, &mut bytes)?;
        assert_eq!(bytes.len(), info.bytes(), "bytes of `{}`", info.name);
        tensors.push(ExpectedTensor {
            name: info.name.clone(),
            dtype: info.dtype,
            shape: info.shape.clone(),
            sha256: sha256(&bytes),
        });
    }
    Ok(tensors)
}

/// Returns the SHA-256 in lowercase hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens and reads every case of a format, and lists those that contradict the manifest.
pub fn check(format: &str, open: impl Fn(Vec<u8>) -> Result<Box<dyn TensorFile>, FormatError>) {
    let Some(cases) = cases(format) else { return };
    let mut wrong = Vec::new();
    for case in cases {
        let found = open(case.bytes).and_then(|file| read_tensors(&*file));
        match (case.tensors, found) {
            (None, Err(error)) => assert!(!error.cause.is_empty(), "{}", case.path),
            (None, Ok(_)) => wrong.push(format!("{}: accepted", case.path)),
            (Some(_), Err(error)) => wrong.push(format!("{}: refused: {error}", case.path)),
            (Some(mut expected), Ok(mut found)) => {
                expected.sort();
                found.sort();
                if expected != found {
                    wrong.push(format!("{}: expected {expected:?}, found {found:?}", case.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
