//! The manifest of a folder of hostile and odd files: the required result of opening each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// File that must never appear: hostile files try to make it.
const CANARY: &str = "/tmp/MODEL_CORPUS_CANARY";

/// A manifest with unparsed cases, so that each is judged separately.
#[derive(Deserialize)]
pub struct Manifest {
    /// File that must never appear.
    #[serde(default = "default_canary")]
    pub canary: PathBuf,
    files: Vec<Value>,
}

fn default_canary() -> PathBuf {
    CANARY.into()
}

/// Kind of a case's file, which determines what opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// PyTorch, zip archive
    Pt,
    /// PyTorch before 1.6
    Legacy,
    /// PyTorch in an odd zip archive
    Zip,
    /// TorchScript
    Torchscript,
    /// A file of another kind than its name says
    WrongFile,
    /// safetensors
    Safetensors,
    /// An index and its shards
    Sharded,
    /// numpy array
    Npy,
    /// numpy arrays
    Npz,
    /// ONNX model
    Onnx,
    /// open_clip's JSON
    Config,
    /// A tokenizer file
    Tokenizer,
    /// Image
    Image,
}

impl Format {
    /// Returns the name used in the manifest.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The required result of opening a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// Exactly the listed tensors.
    Load,
    /// An error.
    Reject,
}

/// How strictly a file must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Always.
    Must,
    /// Unless there is a reason.
    Strict,
}

/// A tensor's contents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tensor {
    /// Element type as safetensors names it.
    pub dtype: String,
    /// Lengths of the dimensions.
    pub shape: Vec<u64>,
    /// SHA-256 of the contiguous row-major little-endian bytes.
    pub sha256: String,
}

/// A file and the required result of opening it.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Name of the case.
    pub name: String,
    /// Path within the folder of the manifest.
    path: String,
    /// File to open within `path`, if that is a folder.
    entry: Option<String>,
    /// What opens it.
    pub format: Format,
    /// The required result.
    pub expectation: Expectation,
    /// Severity, for a file that must be refused.
    severity: Option<Severity>,
    /// Another acceptable outcome, in words.
    pub alt: Option<String>,
    /// Keys under which the tensors lie.
    #[serde(default)]
    root: Vec<String>,
    /// The tensors, by name.
    pub tensors: Option<BTreeMap<String, Tensor>>,
    /// Width of an image.
    pub width: Option<usize>,
    /// Height of an image.
    pub height: Option<usize>,
    /// SHA-256 of an image's red, green and blue bytes.
    pub rgb_sha256: Option<String>,
    /// SHA-256 of the file itself.
    pub file_sha256: Option<String>,
}

impl Case {
    /// Returns the file to open.
    pub fn file(&self, folder: &Path) -> PathBuf {
        let path = folder.join(&self.path);
        self.entry.as_ref().map_or(path.clone(), |entry| path.join(entry))
    }

    /// Returns the prefix of the tensor names.
    pub fn prefix(&self) -> String {
        self.root.iter().map(|key| format!("{key}.")).collect()
    }

    /// Returns whether an exception may be made for a reason.
    pub fn is_strict(&self) -> bool {
        self.expectation == Expectation::Reject && self.severity == Some(Severity::Strict)
    }
}

/// A parsed case, or the name of one that could not be parsed and why.
pub type Read = Result<Case, (String, String)>;

impl Manifest {
    /// Reads `manifest.json` of a folder.
    pub fn read(folder: &Path) -> Result<Manifest, String> {
        let path = folder.join("manifest.json");
        let wrong = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
        let bytes = std::fs::read(&path).map_err(|error| wrong(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| wrong(&error))
    }

    /// Returns the cases whose name or path contains a match.
    pub fn cases(&self, only: Option<&regex::Regex>) -> Vec<Read> {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("(no name)").to_owned();
        let is_wanted = |value: &&Value| {
            only.is_none_or(|only| ["name", "path"].iter().any(|key| only.is_match(&text(value, key))))
        };
        let read = |value: &Value| {
            Case::deserialize(value)
                .map_err(|error| (text(value, "name"), format!("the manifest is not understood: {error}")))
        };
        self.files.iter().filter(is_wanted).map(read).collect()
    }
}
