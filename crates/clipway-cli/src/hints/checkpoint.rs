//! What to do about a source that cannot be opened.

use std::path::Path;

use clipway_formats::shown_path;
use clipway_model::checkpoint::{AdapterError, CheckpointError, Program};
use clipway_model::input::InputError;
use clipway_model::registry;

use super::of_unknown_model;

/// What to do about a source that cannot be opened.
pub fn of_checkpoint(error: &CheckpointError) -> Option<String> {
    match error {
        CheckpointError::Ambiguous { .. } => {
            let newest = error.proposed()?;
            Some(format!("pass one of the files; `{}` is the newest", shown_path(&newest)))
        }
        CheckpointError::SeveralFolders { .. } | CheckpointError::NoWeights { .. } => {
            Some(format!("pass `{}`", shown_path(&error.proposed()?)))
        }
        CheckpointError::OtherProgram { file, .. } if file == "flax_model.msgpack" => {
            Some(from_program("from_flax"))
        }
        CheckpointError::OtherProgram { file, .. } if file == "tf_model.h5" => Some(from_program("from_tf")),
        CheckpointError::OtherProgram { program: Program::Flax | Program::Orbax, .. }
        | CheckpointError::OtherFile { program: Program::Flax | Program::Orbax, .. } => Some(
            "a SigLIP of big_vision is read from its `.npz`: save the parameters with `numpy.savez`, each under its path, such as \
             `params/img/embedding/kernel`; of any other model, export its PyTorch weights"
                .to_owned(),
        ),
        CheckpointError::OtherProgram { .. } | CheckpointError::OtherFile { .. } => {
            Some("export the PyTorch or safetensors weights that it was made from".to_owned())
        }
        CheckpointError::Packed { .. } => Some("unpack it, and pass the folder or the file of weights".to_owned()),
        CheckpointError::Universal { folder } => Some(format!(
            "join the tensors, and export the file: `python -c \"import pathlib, torch; torch.save({{p.parent.name: \
             torch.load(p)['param'] for p in pathlib.Path('{}/zero').glob('*/fp32.pt')}}, 'model.pt')\"`",
            shown_path(folder)
        )),
        CheckpointError::DistributedPart { path } => {
            Some(format!("pass the folder with its `.metadata`, `{}`", shown_path(folder_of(path))))
        }
        CheckpointError::NoIndex { .. } => Some(
            "copy the `….index.json` that was written beside the shards, and pass the folder or the index"
                .to_owned(),
        ),
        CheckpointError::NoMetadata { .. } => {
            Some("copy the `.metadata` that was written beside the parts".to_owned())
        }
        CheckpointError::Adapter { cause: AdapterError::NoBase { .. }, .. } => Some(
            "pass the weights with `--base SOURCE`, or merge the adapter with PEFT's `merge_and_unload()`"
                .to_owned(),
        ),
        CheckpointError::Adapter { cause: AdapterError::NotAnAdapter, .. } => {
            Some("omit `--base`".to_owned())
        }
        CheckpointError::Adapter { cause: AdapterError::Several { .. }, .. } => {
            Some("save the one adapter that is wanted, and pass it with `--base SOURCE`".to_owned())
        }
        CheckpointError::Adapter { cause: AdapterError::NoConfig, .. } => Some(
            "put the adapter's `adapter_config.json` beside the weights, or merge the adapter with PEFT's \
             `merge_and_unload()`"
                .to_owned(),
        ),
        CheckpointError::Adapter { .. } => {
            Some("merge the adapter with PEFT's `merge_and_unload()`".to_owned())
        }
        CheckpointError::InParts { .. } => Some(ZERO_3.to_owned()),
        _ => None,
    }
}

/// The folder of a file.
pub(super) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// What to do about a path that does not exist and is the name of something else.
pub fn of_absent(error: &InputError) -> Option<String> {
    let InputError::Io { path, .. } = error else { return None };
    if error.is_absent() && path.is_symlink() {
        return Some(
            "it is a link to a file that does not exist, as of an incomplete download; get the model again"
                .to_owned(),
        );
    }
    let name = path.to_str().filter(|_| error.is_absent())?;
    if name.contains("://") {
        return Some(
            "only models on the Hub are downloaded, as `hf-hub:OWNER/NAME`; get other files first, and pass their \
             folder"
                .to_owned(),
        );
    }
    let architecture = name.split_once(':').map_or(name, |(architecture, _)| architecture);
    match registry::model(name) {
        Ok(_) => Some(format!(
            "this is an architecture's name; pass the file or folder with its weights, and `--model {name}`, or one of \
             its pretrained tags, `{name}:TAG`"
        )),
        Err(_) => registry::model(architecture).err().filter(|error| error.newer.is_some()).map(|error| {
            format!(
                "this is an architecture's name; pass the file or folder with its weights, or its repository as \
                 `hf-hub:OWNER/NAME`; {}",
                of_unknown_model(&error)
            )
        }),
    }
}

/// What to do about DeepSpeed's parts of a model.
pub(super) const ZERO_3: &str = "join the parts with DeepSpeed's script in the run's folder, \
                      `python zero_to_fp32.py . OUT`, and pass the file that it writes";

/// How transformers reads weights of another program.
fn from_program(option: &str) -> String {
    format!(
        "load it in transformers 4 with `from_pretrained(FOLDER, {option}=True)`, and save it with `save_pretrained`"
    )
}
