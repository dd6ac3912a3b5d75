//! `clipway.json`: what an exported folder records about itself, and the check that its bytes still match.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{
    FormatError, PytorchFile, PytorchOptions, ReadAt, SafetensorsFile, TensorFile, shown_path,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::{FactValue, HubPlace};
use crate::config::PixelRule;
use crate::contract::Contract;
use crate::input::{FileSource, Folder, InputError, Kind};
use crate::plan::{Ledger, Plan, PlannedTensor, Precision, Towers};
use crate::spelling::{OWN, Spelling, WeightsFormat};
use crate::state_dict::WeightsChoice;

mod check;
mod document;
mod part;
mod quantization;
mod report;

pub use check::HashReport;
pub use part::Part;
pub use quantization::{KeptTensor, Quantization, QuantizationLoss, TensorLoss, TowerLoss};
pub use report::{Report, Stage, Tolerance};

/// Name of the file.
pub const ARTIFACT_NAME: &str = "clipway.json";

/// Version of the file's structure.
pub const ARTIFACT_VERSION: u32 = 3;

/// Number of bytes hashed at a time.
const PIECE: usize = 1 << 20;

/// Everything that an exported folder records about itself. It contains no times and no absolute paths: the same input
/// gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Version of this structure.
    pub artifact_version: u32,
    /// Version of clipway that wrote it.
    pub tool_version: String,
    /// The target whose names and files it has.
    pub target: String,
    /// What it was made from.
    pub source: ArtifactSource,
    /// The model.
    pub model: ArtifactModel,
    /// Everything besides the weights that decides its features, with the origin of each part.
    pub contract: Contract,
    /// Report of the verification; `null` if none was run.
    pub verification: Option<Report>,
    /// What is in integers, and what it costs; left out where nothing is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quantization: Option<Quantization>,
    /// What a user should know.
    pub notes: Vec<String>,
    /// The account of all tensors of the source.
    pub ledger: Ledger,
    /// How tensors were changed, and which rule dropped which tensor.
    pub plan: PlanRecord,
    /// Weight files by format.
    pub weights: BTreeMap<WeightsFormat, Vec<String>>,
    /// Every tensor: dtype, and SHA-256 of its contiguous little-endian bytes.
    pub tensors: BTreeMap<String, TensorHash>,
    /// Every other file, hashed as a whole.
    pub files: BTreeMap<String, FileHash>,
}

/// What an artifact was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactSource {
    /// Name of the file or folder, without its path.
    pub name: String,
    /// Format of the files.
    pub format: String,
    /// Layout of the names.
    pub layout: String,
    /// Its repository and commit, if it was read from the Hub's cache; left out if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubPlace>,
    /// Dictionaries and prefixes in front of the names.
    pub path: Vec<String>,
    /// Which weights were used.
    pub weights: WeightsChoice,
    /// Its files.
    pub files: BTreeMap<String, FileHash>,
    /// The sources that the model was put together from; left out where there is one. Their files are numbered from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Single values beside the weights, such as the epoch.
    pub facts: BTreeMap<String, FactValue>,
}

/// The model of an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactModel {
    /// Registered name, if the config has one.
    pub name: Option<String>,
    /// Where the config comes from.
    pub config_from: String,
    /// Dtype of the floating-point tensors; `null` if each is as stored.
    pub precision: Option<Precision>,
    /// Whether training branches are folded into one convolution; omitted if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folded: bool,
    /// Which towers it contains.
    pub towers: Towers,
    /// Number of parameters.
    pub parameters: u64,
}

/// Summary of tensors that are not written unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRecord {
    /// Layout of the source.
    pub layout: String,
    /// Tensors that are renamed or changed, by their new name.
    pub changed: BTreeMap<String, ChangedTensor>,
    /// Tensors that are not written, with the rule that dropped them.
    pub dropped: BTreeMap<String, String>,
}

/// What a tensor was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedTensor {
    /// Source tensors.
    pub from: Vec<String>,
    /// Steps, in order.
    pub steps: Vec<String>,
}

impl PlanRecord {
    /// The part of a plan that is recorded.
    pub fn of(plan: &Plan) -> PlanRecord {
        let changed = plan.tensors.iter().filter(|one| one.is_renamed() || !one.steps.is_empty());
        let record = |planned: &PlannedTensor| ChangedTensor {
            from: planned.sources.iter().map(|source| source.name.clone()).collect(),
            steps: planned.steps.iter().map(ToString::to_string).collect(),
        };
        let dropped = plan.dropped.iter();
        PlanRecord {
            layout: plan.layout.clone(),
            changed: changed.map(|planned| (planned.target.name.clone(), record(planned))).collect(),
            dropped: dropped.map(|one| (one.tensor.name.clone(), one.rule.to_owned())).collect(),
        }
    }
}

/// Dtype and hash of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorHash {
    /// Name of the dtype, as in safetensors.
    pub dtype: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Size and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

impl FileHash {
    /// Hashes bytes.
    pub fn of(bytes: &[u8]) -> FileHash {
        FileHash { bytes: bytes.len() as u64, sha256: hex(Sha256::new_with_prefix(bytes)) }
    }

    /// Hashes a file in pieces. `each` receives the size of each piece and may stop the work.
    ///
    /// # Errors
    /// Errors from reading or from `each`.
    pub fn of_source<E>(
        source: &dyn ReadAt,
        mut each: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Result<FileHash, E>, FormatError> {
        let size = source.size();
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
        let mut offset = 0;
        while offset < size {
            let length = PIECE.min(usize::try_from(size - offset).unwrap_or(PIECE));
            let piece = &mut piece[..length];
            source.read_exact_at(offset, piece).map_err(|error| FormatError::io(offset, &error))?;
            hash.update(&*piece);
            offset += length as u64;
            if let Err(stop) = each(length) {
                return Ok(Err(stop));
            }
        }
        Ok(Ok(FileHash { bytes: size, sha256: hex(hash) }))
    }
}

/// A SHA-256 digest as lower-case hexadecimal digits.
pub(crate) fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An artifact cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// A file cannot be opened or read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file in the folder that does not belong to the artifact.
    #[error("`{}` is not listed in the folder's `{ARTIFACT_NAME}`", shown_path(path))]
    Unlisted {
        /// The file.
        path: PathBuf,
    },
    /// A file is malformed.
    #[error("`{}`: {cause}", shown_path(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: FormatError,
    },
}

impl ArtifactError {
    /// Stable code of the error, as in [`Code::name`](clipway_formats::Code::name).
    pub fn code(&self) -> &'static str {
        match self {
            ArtifactError::Input(error) => error.code(),
            ArtifactError::Unlisted { .. } => "unlisted",
            ArtifactError::Format { cause, .. } => cause.code.name(),
        }
    }
}

impl Artifact {
    /// Names of all weight files, in every format.
    pub fn weights_names(&self) -> impl Iterator<Item = &str> {
        self.weights.values().flatten().map(String::as_str)
    }

    /// The rule of its images, if these keep their proportions.
    pub(crate) fn rule_with_grids(&self) -> Option<&PixelRule> {
        let rule = &self.contract.image.as_ref()?.rule.value;
        rule.grids().is_some().then_some(rule)
    }

    /// Whether a file with this name belongs to the artifact.
    pub fn lists(&self, name: &str) -> bool {
        name == ARTIFACT_NAME
            || self.files.contains_key(name)
            || self.weights_names().any(|listed| listed == name)
    }

    /// Checks that a file about to be used belongs to the artifact.
    ///
    /// # Errors
    /// [`ArtifactError::Unlisted`].
    pub fn check_listed(&self, folder: &Path, name: &str) -> Result<(), ArtifactError> {
        if self.lists(name) {
            return Ok(());
        }
        Err(ArtifactError::Unlisted { path: folder.join(name) })
    }

    /// Reads the `clipway.json` of a folder.
    ///
    /// # Errors
    /// A file that is missing, or cannot be read or parsed.
    pub fn read(folder: &Path) -> Result<Artifact, ArtifactError> {
        let bytes = Folder::open(folder)?.file(ARTIFACT_NAME, Kind::Artifact)?.read_all()?;
        Artifact::parse(&bytes)
            .map_err(|cause| ArtifactError::Format { path: folder.join(ARTIFACT_NAME), cause })
    }

    /// Whether it was written for open_clip or for clipway alone, which reads `clipway.json` beside open_clip's config. An
    /// artifact for another library is read from that library's own files alone.
    pub fn is_for_open_clip(&self) -> bool {
        [<&Spelling>::default().layout, OWN].contains(&self.target.as_str())
    }

    /// The `clipway.json` of a folder, if it has one.
    ///
    /// # Errors
    /// If it cannot be read or parsed.
    pub fn find(folder: &Path) -> Result<Option<Artifact>, ArtifactError> {
        Folder::open(folder)?.has(ARTIFACT_NAME).then(|| Artifact::read(folder)).transpose()
    }
}

/// Opens a weight file written by an export.
pub(crate) fn open_weights(source: FileSource) -> Result<Arc<dyn TensorFile>, ArtifactError> {
    let path = source.path().to_owned();
    let source: Arc<dyn ReadAt> = Arc::new(source);
    let opened: Result<Arc<dyn TensorFile>, FormatError> =
        if path.extension().is_some_and(|e| e == "safetensors") {
            SafetensorsFile::open(source).map(|file| Arc::new(file) as Arc<dyn TensorFile>)
        } else {
            PytorchFile::open(source, PytorchOptions::default())
                .map(|file| Arc::new(file) as Arc<dyn TensorFile>)
        };
    opened.map_err(|cause| ArtifactError::Format { path, cause })
}
