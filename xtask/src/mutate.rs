//! Tries every small change to a valid file: the result must be an error or the original tensors, unless the format
//! cannot detect the change.

use std::path::Path;
use std::sync::Arc;

use clipway_formats::{
    Code, FormatError, NpyFile, NpzFile, OnnxFile, Place, PytorchFile, PytorchOptions, ReadAt,
    SafetensorsFile, TensorFile, TensorInfo,
};
use rayon::prelude::*;

use crate::demo::root;
use crate::outcome::{Outcome, tell};

/// Maximum size of a mutated file, in bytes; every mutation of it is tried.
const LARGEST: usize = 4096;

/// Numbers that each eight bytes are set to.
const NUMBERS: [u64; 5] = [0, 1, 1 << 31, 1 << 63, u64::MAX];

/// A format's protection against changes.
#[derive(Clone, Copy, PartialEq)]
enum Guard {
    /// Checksums over everything significant.
    Checksums,
    /// None: a changed weight, or a changed letter in a name, goes undetected. Changes of a dtype or a shape must not.
    Structure,
    /// None, and numbers such as strides and offsets are unprotected: another view of the same bytes is readable too.
    /// At most this many mutations may read as another file.
    AtMost(usize),
}

/// The files, below `fuzz/seeds`.
const FILES: [(&str, Guard); 12] = [
    ("safetensors/plain.safetensors", Guard::Structure),
    // The other lengths of a tensor without elements appear only in its shape.
    ("safetensors/empty.safetensors", Guard::AtMost(55)),
    ("pytorch_zip/plain.pt", Guard::Checksums),
    ("pytorch_zip/views.pt", Guard::Checksums),
    ("pytorch_zip/training.pt", Guard::Checksums),
    ("npz/stored.npz", Guard::Checksums),
    ("npz/deflated.npz", Guard::Checksums),
    ("npy/f4.npy", Guard::Structure),
    ("onnx/all.onnx", Guard::AtMost(471)),
    ("pytorch_legacy/plain.pt", Guard::AtMost(649)),
    ("pytorch_legacy/views.pt", Guard::AtMost(1108)),
    ("torchscript/linear.pt", Guard::Checksums),
];

/// Tensors and their bytes, as read.
type Tensors = Vec<(TensorInfo, Vec<u8>)>;

/// The outcome of a mutation.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Refused,
    Same,
    Values,
    Names,
    Kinds,
}

/// Tries all mutations of all files.
pub fn run() -> Result<bool, String> {
    let seeds = root().join("fuzz/seeds");
    let outcomes = FILES.iter().map(|(name, guard)| mutate(&seeds.join(name), name, *guard));
    Ok(tell(outcomes.collect::<Result<Vec<_>, _>>()?))
}

fn mutate(path: &Path, name: &str, guard: Guard) -> Result<Outcome, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    if bytes.len() > LARGEST {
        return Err(format!("`{}` has {} bytes, more than {LARGEST}", path.display(), bytes.len()));
    }
    let expected = read(name, bytes.clone()).map_err(|error| format!("{name}: {error}"))?;
    let steps = steps(bytes.len());
    let fates: Vec<Fate> = steps.par_iter().map(|step| judge(name, &expected, step.apply(&bytes))).collect();
    let count = |wanted| fates.iter().filter(|fate| **fate == wanted).count();
    let (values, names, kinds) = (count(Fate::Values), count(Fate::Names), count(Fate::Kinds));
    let passed = match guard {
        Guard::Checksums => values + names + kinds == 0,
        Guard::Structure => kinds == 0,
        Guard::AtMost(most) => values + names + kinds <= most,
    };
    let detail = format!(
        "{} bytes, {} steps: {} refused, {} the original tensors, {values} other values, {names} other names, {kinds} \
         other shapes",
        bytes.len(),
        steps.len(),
        count(Fate::Refused),
        count(Fate::Same),
    );
    Ok(Outcome { name: name.to_owned(), passed, detail })
}

/// A small mutation of a file.
enum Step {
    /// Only the first bytes are kept.
    Cut(usize),
    /// A bit is flipped.
    Flip(usize, u8),
    /// A byte is set.
    Byte(usize, u8),
    /// Eight bytes are set to a number.
    Number(usize, u64),
}

/// Returns every mutation of a file of this many bytes.
fn steps(length: usize) -> Vec<Step> {
    let cuts = (0..length).map(Step::Cut);
    let flips = (0..length).flat_map(|at| (0..8).map(move |bit| Step::Flip(at, bit)));
    let bytes = (0..length).flat_map(|at| [0, 0xff].map(|byte| Step::Byte(at, byte)));
    let eights = 0..length.saturating_sub(7);
    let numbers = eights.flat_map(|at| NUMBERS.map(|number| Step::Number(at, number)));
    cuts.chain(flips).chain(bytes).chain(numbers).collect()
}

impl Step {
    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        match *self {
            Step::Cut(length) => changed.truncate(length),
            Step::Flip(at, bit) => changed[at] ^= 1 << bit,
            Step::Byte(at, byte) => changed[at] = byte,
            Step::Number(at, number) => changed[at..at + 8].copy_from_slice(&number.to_le_bytes()),
        }
        changed
    }
}

fn judge(name: &str, expected: &Tensors, bytes: Vec<u8>) -> Fate {
    let Ok(found) = read(name, bytes) else { return Fate::Refused };
    let kinds = |tensors: &Tensors| -> Vec<_> {
        tensors.iter().map(|(info, _)| (info.dtype, info.shape.clone())).collect()
    };
    let names = |tensors: &Tensors| -> Vec<_> { tensors.iter().map(|(info, _)| info.name.clone()).collect() };
    if found == *expected {
        Fate::Same
    } else if kinds(&found) != kinds(expected) {
        Fate::Kinds
    } else if names(&found) != names(expected) {
        Fate::Names
    } else {
        Fate::Values
    }
}

/// Reads a file with the reader named by its folder.
fn read(name: &str, bytes: Vec<u8>) -> Result<Tensors, FormatError> {
    let source: Arc<dyn ReadAt> = Arc::new(bytes);
    match name.split('/').next() {
        Some("safetensors") => tensors(&SafetensorsFile::open(source)?),
        Some("npy") => tensors(&NpyFile::open(source)?),
        Some("npz") => tensors(&NpzFile::open(source)?),
        Some("onnx") => {
            let absent = FormatError::new(Code::Io, Place::File, "no such file");
            let mut data = |name: &str| match name {
                "w.bin" => Ok(Arc::new((0..64).collect::<Vec<u8>>()) as Arc<dyn ReadAt>),
                _ => Err(absent.clone()),
            };
            tensors(&OnnxFile::open(source, &mut data)?)
        }
        _ => tensors(&PytorchFile::open(source, PytorchOptions::default())?),
    }
}

fn tensors(file: &dyn TensorFile) -> Result<Tensors, FormatError> {
    let mut all = Tensors::new();
    for (index, info) in file.tensors().iter().enumerate() {
        let mut bytes = Vec::new();
        file.read(index, &mut bytes)?;
        all.push((info.clone(), bytes));
    }
    Ok(all)
}
