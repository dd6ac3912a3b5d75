//! Which file of a folder holds the weights.

use std::path::Path;

use super::distributed::METADATA;
use super::{CheckpointError, foreign};
use crate::input::{Elsewhere, InputError};

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
const ENDINGS: [&str; 8] =
    [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pth.tar", ".npz", ".index.json"];

/// End of the files in which DeepSpeed keeps the optimizer's state, beside the model's.
const OPTIMIZER: &str = "_optim_states.pt";

/// What trainers keep beside the weights in files of the same kind: the first part of their names, without a number.
const STATES: [&str; 9] = [
    "optimizer",
    "scheduler",
    "scaler",
    "sampler",
    "training_args",
    "rng_state",
    "random_states",
    "dl_state_dict",
    "trainer_state",
];

/// Number of digits in the name of a commit.
const COMMIT: usize = 40;

/// Beginning of the files in which DeepSpeed keeps one process's part of the model (ZeRO-3).
const PARTS: &str = "zero_pp_rank_";

/// Names in a folder, sorted. No tool gives weights a name that is not Unicode.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let refuse = |cause| InputError::Io { path: folder.to_owned(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        names.extend(entry.map_err(refuse)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Names of weight files in a folder.
fn weight_files(folder: &Path, elsewhere: &Elsewhere) -> Result<Vec<String>, CheckpointError> {
    let mut names = names_in(folder)?;
    names.extend(elsewhere.names().map(str::to_owned));
    // Weights of OpenVINO and Core ML end in `.bin` too.
    let is_other =
        |name: &str| foreign::package(folder).is_some() || foreign::is_intermediate(&folder.join(name));
    let ends = |name: &str| ENDINGS.iter().any(|ending| name.ends_with(ending));
    names.retain(|name| ends(name) && !folder.join(name).is_dir() && !is_other(name) && !is_state(name));
    Ok(names)
}

/// Whether a file is a trainer's state, such as `optimizer.bin` or `rng_state_0.pth`.
fn is_state(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    STATES.contains(&stem.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_'))
}

/// Whether a folder holds a weight file.
pub(super) fn has_weights(folder: &Path) -> Result<bool, CheckpointError> {
    Ok(is_distributed(folder) || !weight_files(folder, &Elsewhere::default())?.is_empty())
}

/// Whether a folder is a distributed checkpoint.
fn is_distributed(folder: &Path) -> bool {
    folder.join(METADATA).is_file()
}

/// Whether a folder is a step of DeepSpeed in its universal form: a folder for each tensor, with its values in `fp32.pt`.
pub(super) fn is_universal(folder: &Path) -> bool {
    let tensors = folder.join("zero");
    names_in(&tensors)
        .is_ok_and(|names| names.iter().any(|name| tensors.join(name).join("fp32.pt").is_file()))
}

/// Chooses a folder's weight file by name, among its own and those that are elsewhere.
pub(super) fn weights_of(folder: &Path, elsewhere: &Elsewhere) -> Result<String, CheckpointError> {
    let mut names = weight_files(folder, elsewhere)?;
    if let Some(name) = PREFERRED.into_iter().find(|name| names.iter().any(|found| found == name)) {
        return Ok(name.to_owned());
    }
    // What else is in the folder is what its trainer keeps beside the weights.
    if is_distributed(folder) {
        return Ok(METADATA.to_owned());
    }
    if names.iter().any(|name| name.ends_with(".index.json")) {
        names.retain(|name| !is_shard(name));
    }
    if names.iter().any(|name| !name.ends_with(OPTIMIZER)) {
        names.retain(|name| !name.ends_with(OPTIMIZER));
    }
    if let Some(part) = names.iter().find(|name| name.starts_with(PARTS)) {
        if is_universal(folder) {
            return Err(CheckpointError::Universal { folder: folder.to_owned() });
        }
        return Err(CheckpointError::InParts { path: folder.join(part) });
    }
    // Without an index no shard is the whole.
    if !names.is_empty() && names.iter().all(|name| is_shard(name)) {
        let (folder, shard) = (folder.to_owned(), names.swap_remove(0));
        return Err(CheckpointError::NoIndex { folder, shard });
    }
    match &names[..] {
        [] => Err(CheckpointError::NoWeights { folder: folder.to_owned(), inside: Vec::new() }),
        [name] => Ok(name.clone()),
        _ => Err(CheckpointError::Ambiguous { folder: folder.to_owned(), candidates: names }),
    }
}

/// The newest of several checkpoints: the one whose name says so, else the one with the highest number in its name, else
/// the one written last.
pub(super) fn newest<'n>(folder: &Path, names: &'n [String]) -> Option<&'n String> {
    let number = |name: &str| {
        // The digits of a commit are no count.
        let last = name.rsplit('/').next().unwrap_or_default();
        if last.len() == COMMIT && last.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let numbers = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        numbers.filter_map(|digits| digits.parse::<u64>().ok()).next_back()
    };
    let says = |name: &str| ["latest", "last"].iter().any(|word| name.contains(word));
    let written = |name: &str| folder.join(name).metadata().and_then(|data| data.modified()).ok();
    names.iter().max_by_key(|name| (says(name), number(name), written(name)))
}

/// Whether a file with this name could be weights; an index holds none itself.
pub(crate) fn is_weights(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending)) && !name.ends_with(".index.json")
}

/// Whether a name is numbered like a shard: `model-00001-of-00003.safetensors`.
pub(super) fn is_shard(name: &str) -> bool {
    shard_of(name).is_some()
}

/// The number of a shard and the number of all, by its name: 1 of 3.
pub(super) fn shard_of(name: &str) -> Option<[usize; 2]> {
    let stem = name.split('.').next().unwrap_or_default();
    let mut parts = stem.rsplit('-');
    let number = |part: Option<&str>| {
        let digits = part.filter(|digits| digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok()
    };
    let all = number(parts.next())?;
    (parts.next() == Some("of")).then_some(())?;
    Some([number(parts.next())?, all])
}
