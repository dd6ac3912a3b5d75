//! Which file of a folder holds the weights.

use std::path::Path;

use super::CheckpointError;
use crate::input::InputError;

/// Names in open_clip's order of preference; an index stands for its shards, after the single file.
const PREFERRED: [&str; 14] = [
    "open_clip_model.safetensors",
    "open_clip_model.safetensors.index.json",
    "clipway_model.safetensors",
    "clipway_model.safetensors.index.json",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.bin.index.json",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch_model.pth",
    "model.pth",
];

/// File extensions of weights.
const ENDINGS: [&str; 6] = [".safetensors", ".bin", ".pt", ".pth", ".npz", ".index.json"];

/// Chooses a folder's weight file by name.
pub(super) fn weights_of(folder: &Path) -> Result<String, CheckpointError> {
    let refuse = |cause| InputError::Io { path: folder.to_owned(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        // No tool gives weights a name that is not Unicode.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if ENDINGS.iter().any(|ending| name.ends_with(ending)) && !entry.path().is_dir() {
            names.push(name);
        }
    }
    if let Some(name) = PREFERRED.into_iter().find(|name| names.iter().any(|found| found == name)) {
        return Ok(name.to_owned());
    }
    names.sort();
    if names.iter().any(|name| name.ends_with(".index.json")) {
        names.retain(|name| !is_shard(name));
    }
    match &names[..] {
        [] => Err(CheckpointError::NoWeights { folder: folder.to_owned() }),
        [name] => Ok(name.clone()),
        _ => Err(CheckpointError::Ambiguous { folder: folder.to_owned(), candidates: names }),
    }
}

/// Whether a file with this name could be weights; an index holds none itself.
pub(crate) fn is_weights(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending)) && !name.ends_with(".index.json")
}

/// Whether a name is numbered like a shard: `model-00001-of-00003.safetensors`.
fn is_shard(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let mut parts = stem.rsplit('-');
    let number =
        |part: Option<&str>| part.is_some_and(|p| p.len() == 5 && p.bytes().all(|b| b.is_ascii_digit()));
    number(parts.next()) && parts.next() == Some("of") && number(parts.next())
}
