//! Checks that an exported folder still matches its `clipway.json` and contains nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clipway_formats::{Code, FormatError, Place, shown};
use serde::Serialize;

use super::{ARTIFACT_NAME, Artifact, ArtifactError, FileHash, TensorHash, open_weights};
use crate::checkpoint::is_weights;
use crate::export::hash_tensors;
use crate::input::{Folder, InputError, Kind};
use crate::output::is_below;

/// The Hub adds this file to every repository. Nothing reads it as part of a model.
const OF_THE_HUB: &str = ".gitattributes";

/// Result of a hash check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HashReport {
    /// Number of tensors whose hash was compared, once per format.
    pub tensors: usize,
    /// Number of files whose hash was compared.
    pub files: usize,
    /// Everything that differs from `clipway.json`, one line each.
    pub differences: Vec<String>,
}

impl HashReport {
    /// Whether everything matches `clipway.json`, and something was compared.
    pub fn is_right(&self) -> bool {
        self.differences.is_empty() && self.tensors + self.files > 0
    }
}

impl Artifact {
    /// Compares every tensor and file of a folder with the hashes in its `clipway.json`, and the folder's files with
    /// its list.
    ///
    /// # Errors
    /// A file that cannot be read or parsed. Differences are part of the report.
    pub fn check_hashes(folder: &Path) -> Result<HashReport, ArtifactError> {
        let artifact = Artifact::read(folder)?;
        let folder = Folder::open(folder)?;
        let mut report = HashReport::default();
        report.differences.extend(artifact.unlisted(&folder)?);
        // Tensors of graphs are compared with their whole files.
        for (_, names) in artifact.weights.iter().filter(|_| !artifact.tensors.is_empty()) {
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

    /// Files in the folder that are not listed, and entries listed twice or in only one list.
    fn unlisted(&self, folder: &Folder) -> Result<Vec<String>, ArtifactError> {
        let mut differences = Vec::new();
        let mut seen = BTreeSet::new();
        for name in self.weights_names() {
            if !seen.insert(name) {
                differences.push(format!("`{}` is listed twice as weights", shown(name)));
            }
            if !self.files.contains_key(name) {
                differences.push(format!("`{}` is listed as weights but has no hash", shown(name)));
            }
        }
        let loadable = self.files.keys().filter(|name| is_weights(name) && !seen.contains(name.as_str()));
        differences.extend(loadable.map(|name| format!("`{}` is not listed as weights", shown(name))));
        if seen.is_empty() {
            differences.push("no weights are listed".to_owned());
        }
        let mut strangers = Vec::new();
        self.strangers(folder.path(), "", &mut strangers)?;
        strangers.sort();
        differences.extend(strangers);
        Ok(differences)
    }

    /// What lies in a folder, which is called by the prefix, and is not listed.
    fn strangers(&self, path: &Path, prefix: &str, found: &mut Vec<String>) -> Result<(), ArtifactError> {
        let refuse = |cause| InputError::Io { path: path.to_owned(), cause };
        for entry in std::fs::read_dir(path).map_err(refuse)? {
            let name = entry.map_err(refuse)?.file_name();
            let below = name.to_str().map(|name| format!("{prefix}{name}"));
            let is_listed = |below: &String| below == ARTIFACT_NAME || self.files.contains_key(below);
            let has_listed = |below: &String| {
                let inner = format!("{below}/");
                self.files.keys().any(|name| name.starts_with(&inner))
            };
            match below {
                Some(below) if is_listed(&below) || below == OF_THE_HUB => {}
                // A link to a folder leads elsewhere.
                Some(below) if has_listed(&below) && !path.join(&name).is_symlink() => {
                    self.strangers(&path.join(&name), &format!("{below}/"), found)?;
                }
                _ => {
                    let name = format!("{prefix}{}", name.to_string_lossy());
                    found.push(format!("`{}` is not listed", shown(&name)));
                }
            }
        }
        Ok(())
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

/// Checks that a name stays inside the folder.
fn plain<'a>(folder: &Folder, name: &'a str) -> Result<&'a str, ArtifactError> {
    if is_below(name) {
        return Ok(name);
    }
    let cause = format!("`{}` is not a file name inside the folder", shown(name));
    let place = Place::Json("$.files".to_owned());
    Err(ArtifactError::Format {
        path: folder.path().join(ARTIFACT_NAME),
        cause: FormatError::new(Code::PathEscape, place, cause),
    })
}
