//! Checks architecture parameters against open_clip state dicts: names, shapes, dtypes and order.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clipway_formats::Dtype;
use clipway_model::architecture::{self, ArchitectureError};
use clipway_model::config::ModelConfig;
use clipway_model::graph::Parameters;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

/// Maximum size of an unpacked manifest in bytes.
const LARGEST: u64 = 64 << 20;

/// A manifest and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestCase {
    /// Name of the model.
    pub name: String,
    /// The outcome.
    pub outcome: ManifestOutcome,
}

/// The outcome of one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestOutcome {
    /// Everything matches.
    Equal {
        /// Number of tensors.
        tensors: usize,
    },
    /// The first difference.
    Different(String),
    /// The architecture is not supported.
    Unsupported(String),
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {cause}")]
pub struct ManifestError {
    /// The file or folder.
    pub path: String,
    /// The cause.
    pub cause: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Value,
    params: usize,
    state_dict: Vec<(String, String, Vec<usize>)>,
}

/// Lists the manifests of a folder, `NAME.json.gz`, by name.
///
/// # Errors
/// If the folder cannot be read or has none: comparing nothing is a failure.
pub fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>, ManifestError> {
    let wrong = |cause: String| ManifestError { path: folder.display().to_string(), cause };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| wrong(error.to_string()))? {
        let path = entry.map_err(|error| wrong(error.to_string()))?.path();
        let name =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json.gz"));
        if let Some(name) = name {
            found.push((name.to_owned(), path.clone()));
        }
    }
    if found.is_empty() {
        return Err(wrong("there is no `NAME.json.gz`".to_owned()));
    }
    found.sort();
    Ok(found)
}

/// Checks one manifest.
///
/// # Errors
/// If the file cannot be read.
pub fn check(name: &str, path: &Path) -> Result<ManifestCase, ManifestError> {
    let wrong = |cause: String| ManifestError { path: path.display().to_string(), cause };
    let text = unpack(path).map_err(|error| wrong(error.to_string()))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let config = ModelConfig::parse(manifest.config.to_string().as_bytes())
        .map_err(|error| wrong(error.to_string()))?;
    let outcome = match architecture::build(&config) {
        Ok(model) => compare(&model.parameters, &manifest),
        Err(error @ ArchitectureError::Unsupported { .. }) => ManifestOutcome::Unsupported(error.to_string()),
        Err(error) => ManifestOutcome::Different(error.to_string()),
    };
    Ok(ManifestCase { name: name.to_owned(), outcome })
}

/// Reads and unpacks a whole manifest.
fn unpack(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = GzDecoder::new(fs::File::open(path)?).take(LARGEST).read_to_string(&mut text)?;
    if read as u64 == LARGEST {
        return Err(io::Error::other("the manifest is too large"));
    }
    Ok(text)
}

fn compare(parameters: &Parameters, manifest: &Manifest) -> ManifestOutcome {
    let ours = parameters.in_state_dict_order();
    for (index, expected) in manifest.state_dict.iter().enumerate() {
        let (name, dtype, shape) = expected;
        let found = ours.get(index).map(|id| parameters.get(*id));
        let same = found.is_some_and(|found| {
            found.name == *name && found.shape == *shape && dtype_name(found.dtype) == Some(dtype.as_str())
        });
        if !same {
            let found =
                found.map_or("nothing".to_owned(), |p| format!("{} {} {:?}", p.name, p.dtype, p.shape));
            return ManifestOutcome::Different(format!(
                "tensor {index}: expected {name} {dtype} {shape:?}, found {found}"
            ));
        }
    }
    if ours.len() != manifest.state_dict.len() {
        let cause = format!("expected {} tensors, found {}", manifest.state_dict.len(), ours.len());
        return ManifestOutcome::Different(cause);
    }
    if parameters.trained_elements() != manifest.params {
        let cause =
            format!("expected {} parameters, found {}", manifest.params, parameters.trained_elements());
        return ManifestOutcome::Different(cause);
    }
    ManifestOutcome::Equal { tensors: ours.len() }
}

/// Returns PyTorch's name of a dtype that occurs in open_clip state dicts.
fn dtype_name(dtype: Dtype) -> Option<&'static str> {
    match dtype {
        Dtype::F32 => Some("float32"),
        Dtype::I64 => Some("int64"),
        Dtype::Bool => Some("bool"),
        _ => None,
    }
}
