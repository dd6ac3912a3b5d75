//! Folders that hold no weights themselves and point to the folder that does: the Hub's cache, sentence-transformers,
//! runs of open_clip's trainer and of DeepSpeed.

use std::path::Path;

use clipway_formats::{Code, FormatError, Json, JsonLimits, Place, shown};

use super::CheckpointError;
use super::detect::head_of;
use super::distributed::PART;
use super::folder::{has_weights, is_universal, names_in, weights_of};
use super::foreign::{self, Program};
use crate::input::{self, Elsewhere, Folder};

/// Most folders that are followed, one to the next.
const MOST: usize = 4;

/// Most files of a folder whose first bytes are looked at.
const MOST_FILES: usize = 64;

/// The Hub's cache: revisions, and which of them the main branch is.
const SNAPSHOTS: &str = "snapshots";
const MAIN: &str = "refs/main";

/// Beginning of the folder of a model in that cache.
const CACHED: &str = "models--";

/// Beginning of the folders in which accelerate keeps an optimizer's state.
const OPTIMIZER: &str = "optimizer_";

/// sentence-transformers' list of modules, each in a folder.
const MODULES: &str = "modules.json";

/// DeepSpeed's file with the name of the newest step's folder.
const LATEST: &str = "latest";

/// The same for its universal form.
const LATEST_UNIVERSAL: &str = "latest_universal";

/// diffusers' list of models, and the beginning of the folders of its text encoders.
const PIPELINE: &str = "model_index.json";
const TEXT_ENCODER: &str = "text_encoder";

/// Folder of checkpoints in a run of open_clip's trainer.
const CHECKPOINTS: &str = "checkpoints";

/// The folder with the weights of a folder, and the name of the weight file in it.
pub(super) fn weights_in(path: &Path, elsewhere: &Elsewhere) -> Result<(Folder, String), CheckpointError> {
    let mut folder = Folder::open(path)?;
    if elsewhere.names().next().is_some() {
        let name = weights_of(path, elsewhere)?;
        return Ok((folder.with(elsewhere), name));
    }
    for _ in 0..MOST {
        if has_weights(folder.path())? {
            break;
        }
        match next(&folder)? {
            Some(name) => folder = folder.below(&name)?,
            None => return Err(nothing_in(&folder)?),
        }
    }
    let name = weights_of(folder.path(), elsewhere)?;
    Ok((folder, name))
}

/// The folder that a folder without weights points to.
fn next(folder: &Folder) -> Result<Option<String>, CheckpointError> {
    if folder.has(SNAPSHOTS) {
        return snapshot(folder).map(Some);
    }
    if let Some(bytes) = folder.read(MODULES, input::Kind::Config)? {
        return module(folder, &bytes).map(Some);
    }
    for file in [LATEST, LATEST_UNIVERSAL] {
        if folder.path().join(file).is_file() {
            let name = word(folder, file)?;
            // The universal form is often copied alone, with both files.
            if folder.has(&name) || !folder.has(LATEST_UNIVERSAL) || file == LATEST_UNIVERSAL {
                return Ok(Some(name));
            }
        }
    }
    Ok(folder.path().join(CHECKPOINTS).is_dir().then(|| CHECKPOINTS.to_owned()))
}

/// The main branch's revision in a cache of the Hub, else the only one.
fn snapshot(folder: &Folder) -> Result<String, CheckpointError> {
    if folder.has(MAIN) {
        return Ok(format!("{SNAPSHOTS}/{}", word(folder, MAIN)?));
    }
    let mut candidates = folders_in(&folder.path().join(SNAPSHOTS))?;
    candidates.iter_mut().for_each(|name| *name = format!("{SNAPSHOTS}/{name}"));
    match &candidates[..] {
        [only] => Ok(only.clone()),
        [] => Err(nothing_in(folder)?),
        _ => Err(CheckpointError::SeveralFolders { folder: folder.path().to_owned(), candidates }),
    }
}

/// The folder of the CLIP among sentence-transformers' modules.
fn module(folder: &Folder, bytes: &[u8]) -> Result<String, CheckpointError> {
    let refuse = |cause| CheckpointError::Format { path: folder.path().join(MODULES), cause };
    let json = Json::parse(bytes, JsonLimits::CONFIG).map_err(refuse)?;
    let mut kinds = Vec::new();
    let mut paths = Vec::new();
    for module in json.root().items().map_err(refuse)? {
        let text = |key: &str| module.require(key).and_then(|value| value.string()).map_err(refuse);
        kinds.push(text("type")?.rsplit('.').next().unwrap_or_default().to_owned());
        paths.push(text("path")?.to_owned());
    }
    let found = kinds.iter().position(|kind| kind == "CLIPModel");
    match found {
        Some(index) => checked(paths.swap_remove(index)).map_err(refuse),
        None => {
            let kinds = kinds.into_iter().map(|kind| shown(&kind)).collect();
            Err(CheckpointError::Modules { folder: folder.path().to_owned(), kinds })
        }
    }
}

/// The one word of a small file: the name of a folder.
fn word(folder: &Folder, name: &str) -> Result<String, CheckpointError> {
    let bytes = folder.read(name, input::Kind::Config)?.unwrap_or_default();
    let word = String::from_utf8_lossy(&bytes).trim().to_owned();
    checked(word).map_err(|cause| CheckpointError::Format { path: folder.path().join(name), cause })
}

/// A name that a file gives for a folder beside it.
fn checked(name: String) -> Result<String, FormatError> {
    let is_name = !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\\', '\0']);
    let cause = || format!("expected the name of a folder, found `{}`", shown(&name));
    if is_name { Ok(name) } else { Err(FormatError::new(Code::PathEscape, Place::File, cause())) }
}

/// Why a folder's weights cannot be read: those of another program, those of a folder inside, or none.
fn nothing_in(folder: &Folder) -> Result<CheckpointError, CheckpointError> {
    let path = folder.path().to_owned();
    let names = names_in(&path)?;
    if let Some(program) = foreign::package(&path) {
        return Ok(CheckpointError::OtherFile { path, program });
    }
    if is_universal(&path) {
        return Ok(CheckpointError::Universal { folder: path });
    }
    if let Some((file, program)) = of_other_program(folder, &names) {
        return Ok(CheckpointError::OtherProgram { folder: path, file: shown(file), program });
    }
    let mut inside = Vec::new();
    if names.iter().any(|name| name.ends_with(PART)) {
        return Ok(CheckpointError::NoMetadata { folder: path });
    }
    for name in folders_in(&path)? {
        let is_cached = name.starts_with(CACHED) && path.join(&name).join(SNAPSHOTS).is_dir();
        if is_cached || has_weights(&path.join(&name)).unwrap_or_default() {
            inside.push(shown(&name));
        }
    }
    // accelerate keeps the optimizer's state in a folder of its own beside the model's.
    if inside.iter().any(|name| !name.starts_with(OPTIMIZER)) {
        inside.retain(|name| !name.starts_with(OPTIMIZER));
    }
    // Of the models of a pipeline that makes images, the text encoder is a CLIP's.
    if folder.has(PIPELINE) && inside.iter().any(|name| name.starts_with(TEXT_ENCODER)) {
        inside.retain(|name| name.starts_with(TEXT_ENCODER));
    }
    Ok(CheckpointError::NoWeights { folder: path, inside })
}

/// The first file of another program, or the package that is one.
fn of_other_program<'n>(folder: &Folder, names: &'n [String]) -> Option<(&'n str, Program)> {
    let program = |name: &str| {
        let path = folder.path().join(name);
        if path.is_dir() {
            return foreign::package(&path);
        }
        // A file that cannot be read says nothing.
        let head = folder.file(name, input::Kind::Weights).ok().and_then(|source| head_of(&source).ok());
        foreign::of_file(&path, &head?)
    };
    names.iter().take(MOST_FILES).find_map(|name| Some((name.as_str(), program(name)?)))
}

/// Names of the folders in a folder, sorted.
fn folders_in(path: &Path) -> Result<Vec<String>, CheckpointError> {
    let mut names = names_in(path)?;
    names.retain(|name| path.join(name).is_dir());
    Ok(names)
}
