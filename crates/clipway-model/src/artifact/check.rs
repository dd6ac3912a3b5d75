//! The check that an exported folder is still what its `clipway.json` says.

use std::collections::BTreeMap;
use std::path::Path;

use clipway_formats::{Code, FormatError, Place, shown};
use serde::Serialize;

use super::{ARTIFACT_NAME, Artifact, ArtifactError, FileHash, TensorHash, open, open_weights};
use crate::export::hash_tensors;

/// What a check of hashes found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HashReport {
    /// Tensors whose hash was compared, once for each format they are in.
    pub tensors: usize,
    /// Files whose hash was compared as a whole.
    pub files: usize,
    /// Everything that is not as `clipway.json` says, one line each.
    pub differences: Vec<String>,
}

impl HashReport {
    /// Whether all is as `clipway.json` says, and there was something to compare.
    pub fn is_right(&self) -> bool {
        self.differences.is_empty() && self.tensors > 0
    }
}

impl Artifact {
    /// Compares every tensor and every file of a folder with the hashes in its `clipway.json`.
    ///
    /// # Errors
    /// If a file cannot be read or parsed; differences are in the report.
    pub fn check_hashes(folder: &Path) -> Result<HashReport, ArtifactError> {
        let artifact = Artifact::read(folder)?;
        let mut report = HashReport::default();
        for names in artifact.weights.values() {
            let mut left: BTreeMap<&str, &TensorHash> =
                artifact.tensors.iter().map(|(name, hash)| (name.as_str(), hash)).collect();
            for name in names {
                let path = folder.join(plain(folder, name)?);
                let tensors = open_weights(&path)?;
                let refuse = |cause| ArtifactError::Format { path: path.clone(), cause };
                let hashes = hash_tensors(tensors.as_ref(), &|_| Ok(()), &refuse)?;
                for (info, sha256) in tensors.tensors().iter().zip(hashes) {
                    let found = TensorHash { dtype: info.dtype.name().to_owned(), sha256 };
                    report.tensors += 1;
                    let tensor = shown(&info.name);
                    match left.remove(info.name.as_str()) {
                        Some(expected) if *expected == found => {}
                        Some(_) => {
                            report.differences.push(format!("`{name}`: tensor `{tensor}` has changed"))
                        }
                        None => report.differences.push(format!("`{name}`: tensor `{tensor}` was not there")),
                    }
                }
            }
            let missing = left.keys().map(|tensor| format!("tensor `{}` is missing", shown(tensor)));
            report.differences.extend(missing);
        }
        for (name, expected) in &artifact.files {
            let path = folder.join(plain(folder, name)?);
            if !path.exists() {
                report.differences.push(format!("`{}` is missing", shown(name)));
                continue;
            }
            let found = FileHash::of_source(&open(&path)?, |_| Ok::<(), std::convert::Infallible>(()))
                .map_err(|cause| ArtifactError::Format { path, cause })?;
            report.files += 1;
            if found.as_ref() != Ok(expected) {
                report.differences.push(format!("`{}` has changed", shown(name)));
            }
        }
        Ok(report)
    }
}

/// A name of a file in the folder, which must not lead out of it.
fn plain<'a>(folder: &Path, name: &'a str) -> Result<&'a str, ArtifactError> {
    let is_plain = Path::new(name).file_name().is_some_and(|plain| plain == name);
    if is_plain && !name.contains(['/', '\\', ':', '\0']) {
        return Ok(name);
    }
    let cause = format!("`{}` is not the name of a file in the folder", shown(name));
    let place = Place::Json("$.files".to_owned());
    Err(ArtifactError::Format {
        path: folder.join(ARTIFACT_NAME),
        cause: FormatError::new(Code::PathEscape, place, cause),
    })
}
