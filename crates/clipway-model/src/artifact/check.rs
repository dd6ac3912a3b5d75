//! The check that an exported folder is still what its `clipway.json` says, and holds nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clipway_formats::{Code, FormatError, Place, shown};
use serde::Serialize;

use super::{ARTIFACT_NAME, Artifact, ArtifactError, FileHash, TensorHash, open_weights};
use crate::checkpoint::is_weights;
use crate::export::hash_tensors;
use crate::input::{Folder, InputError, Kind};

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
    /// Compares every tensor and every file of a folder with the hashes in its `clipway.json`, and the folder's list of
    /// files with its own.
    ///
    /// # Errors
    /// If a file cannot be read or parsed; differences are in the report.
    pub fn check_hashes(folder: &Path) -> Result<HashReport, ArtifactError> {
        let artifact = Artifact::read(folder)?;
        let folder = Folder::open(folder)?;
        let mut report = HashReport::default();
        report.differences.extend(artifact.unlisted(&folder)?);
        for names in artifact.weights.values() {
            artifact.compare_tensors(&folder, names, &mut report)?;
        }
        for (name, expected) in &artifact.files {
            let Some(source) = folder.find(plain(&folder, name)?, Kind::Weights)? else {
                report.differences.push(format!("`{}` is missing", shown(name)));
                continue;
            };
            let Ok(found) = FileHash::of_source(&source, |_| Ok::<(), std::convert::Infallible>(()))
                .map_err(|cause| ArtifactError::Format { path: folder.path().join(name), cause })?;
            source.check_unchanged()?;
            report.files += 1;
            if found != *expected {
                report.differences.push(format!("`{}` has changed", shown(name)));
            }
        }
        Ok(report)
    }

    /// What lies in the folder and is not listed, and what the lists say twice or only once.
    fn unlisted(&self, folder: &Folder) -> Result<Vec<String>, ArtifactError> {
        let mut differences = Vec::new();
        let mut seen = BTreeSet::new();
        for name in self.weights_names() {
            if !seen.insert(name) {
                differences.push(format!("`{}` is listed twice as weights", shown(name)));
            }
            if !self.files.contains_key(name) {
                differences.push(format!("`{}` is listed as weights and has no hash", shown(name)));
            }
        }
        let loadable = self.files.keys().filter(|name| is_weights(name) && !seen.contains(name.as_str()));
        differences.extend(loadable.map(|name| format!("`{}` is not listed as weights", shown(name))));
        if seen.is_empty() {
            differences.push("no weights are listed".to_owned());
        }
        let refuse = |cause| InputError::Io { path: folder.path().to_owned(), cause };
        let mut strangers = Vec::new();
        for entry in std::fs::read_dir(folder.path()).map_err(refuse)? {
            let name = entry.map_err(refuse)?.file_name();
            let listed =
                name.to_str().is_some_and(|name| name == ARTIFACT_NAME || self.files.contains_key(name));
            if !listed {
                strangers.push(format!("`{}` is not listed", shown(&name.to_string_lossy())));
            }
        }
        strangers.sort();
        differences.extend(strangers);
        Ok(differences)
    }

    /// Compares the tensors of one format, which lie in the files of these names.
    fn compare_tensors(
        &self,
        folder: &Folder,
        names: &[String],
        report: &mut HashReport,
    ) -> Result<(), ArtifactError> {
        let mut left: BTreeMap<&str, &TensorHash> =
            self.tensors.iter().map(|(name, hash)| (name.as_str(), hash)).collect();
        for name in names {
            // A file that is missing is reported with the other files.
            let Some(source) = folder.find(plain(folder, name)?, Kind::Weights)? else { continue };
            let tensors = open_weights(source)?;
            let refuse = |cause| ArtifactError::Format { path: folder.path().join(name), cause };
            let hashes = hash_tensors(tensors.as_ref(), &|_| Ok(()), &refuse)?;
            for (info, sha256) in tensors.tensors().iter().zip(hashes) {
                let found = TensorHash { dtype: info.dtype.name().to_owned(), sha256 };
                report.tensors += 1;
                let (name, tensor) = (shown(name), shown(&info.name));
                match left.remove(info.name.as_str()) {
                    Some(expected) if *expected == found => {}
                    Some(_) => report.differences.push(format!("`{name}`: tensor `{tensor}` has changed")),
                    None => report.differences.push(format!("`{name}`: tensor `{tensor}` is not listed")),
                }
            }
        }
        let missing = left.keys().map(|tensor| format!("tensor `{}` is missing", shown(tensor)));
        report.differences.extend(missing);
        Ok(())
    }
}

/// A name of a file in the folder, which must not lead out of it.
fn plain<'a>(folder: &Folder, name: &'a str) -> Result<&'a str, ArtifactError> {
    let is_plain = Path::new(name).file_name().is_some_and(|plain| plain == name);
    if is_plain && !name.contains(['/', '\\', ':', '\0']) {
        return Ok(name);
    }
    let cause = format!("`{}` is not the name of a file in the folder", shown(name));
    let place = Place::Json("$.files".to_owned());
    Err(ArtifactError::Format {
        path: folder.path().join(ARTIFACT_NAME),
        cause: FormatError::new(Code::PathEscape, place, cause),
    })
}
