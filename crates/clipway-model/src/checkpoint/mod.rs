//! A checkpoint on disk: a file, several files with an index, or a folder that contains one of these.

mod adapter;
mod detect;
mod distributed;
mod error;
mod fact;
mod facts;
mod folder;
mod foreign;
mod hub;
mod merged;
mod place;
mod shards;

pub use crate::input::FileSource;
pub use adapter::AdapterError;
pub use error::CheckpointError;
pub use fact::FactValue;
pub use facts::{SourceGlobal, Writer};
pub(crate) use folder::is_weights;
pub use foreign::Program;
pub use hub::HubPlace;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::{Code, DistributedIndex, FileFormat, FormatError, PytorchOptions, ReadAt, TensorFile};

use crate::artifact::Artifact;
use crate::config::ConfigFile;
use crate::input::{self, Elsewhere, Folder, InputError};
use crate::state_dict::{SelectError, Selection, Weights, WeightsChoice};
use detect::{Opened, head_of, kind_of, open_tensors};

/// Name of the config that open_clip puts beside weights.
pub const CONFIG_NAME: &str = "open_clip_config.json";

/// How to open a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Also opens PyTorch files whose pickle names dangerous functions. None is ever called; [`Checkpoint::globals`]
    /// lists them.
    pub allow_opaque: bool,
    /// The model that an adapter changes: a file or a folder. The adapter is merged into it.
    pub base: Option<PathBuf>,
    /// Weight files of the checkpoint's folder that are not on this machine.
    pub elsewhere: Elsewhere,
}

/// An opened checkpoint: names, dtypes and shapes of its tensors, and what else its files record.
pub struct Checkpoint {
    path: PathBuf,
    weights_path: PathBuf,
    /// The folder of the weights; `None` for tensors without a file.
    folder: Option<Folder>,
    /// The folder's `clipway.json`, if it is an artifact.
    artifact: Option<Artifact>,
    is_sharded: bool,
    parts: Vec<Opened>,
    /// What a distributed checkpoint says of itself.
    distributed: Option<DistributedIndex>,
    sources: Vec<Arc<FileSource>>,
    tensors: Arc<dyn TensorFile>,
    config: Option<(PathBuf, ConfigFile)>,
    /// Indices of tensors that went into others, and what was merged.
    merged: Option<(HashSet<usize>, String)>,
    /// For each of `sources` the number of the source that it belongs to, where there are several.
    part_numbers: Vec<usize>,
}

impl Checkpoint {
    /// Opens a weight file, a shard index, or a folder that contains one of these. The format is detected from the
    /// content. No weights are read.
    ///
    /// # Errors
    /// A path that cannot be read, is malformed, or is no checkpoint.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open_with(path, OpenOptions::default())
    }

    /// Opens as [`Checkpoint::open`] does, with options.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<Checkpoint, CheckpointError> {
        let path = path.as_ref();
        let OpenOptions { allow_opaque, base, elsewhere } = options;
        let base = base.map(|base| {
            let opened = Checkpoint::open_with(base, OpenOptions { allow_opaque, ..OpenOptions::default() });
            opened.map(Box::new)
        });
        let base = base.transpose()?;
        let (source, folder) = open_weights(path, &elsewhere)?;
        let weights_path = source.path().to_owned();
        let options = PytorchOptions { allow_opaque };
        let refuse = |cause| CheckpointError::Format { path: weights_path.clone(), cause };
        let mut index = None;
        let is_distributed = weights_path.file_name().is_some_and(|name| name == distributed::METADATA);
        let (tensors, parts, sources) = if is_distributed {
            let opened = distributed::open_distributed(source, &folder, options)?;
            index = Some(opened.index);
            (opened.tensors as Arc<dyn TensorFile>, Vec::new(), opened.sources)
        } else {
            let kind = kind_of(&source).map_err(refuse)?;
            let opened = open_tensors(kind, Arc::clone(&source) as Arc<dyn ReadAt>, options)
                .map_err(|cause| named_error(&source, &folder, cause))?;
            match opened {
                Some(opened) => (opened.tensors(), vec![opened], vec![source]),
                None => {
                    let sharded = shards::open_shards(source, &folder, options)?;
                    (sharded.tensors, sharded.shards, sharded.sources)
                }
            }
        };
        let artifact = Artifact::find(folder.path())?;
        if let Some(artifact) = &artifact {
            check_listed(artifact, &folder, &sources)?;
        }
        let adapter = folder.read(adapter::ADAPTER_CONFIG, input::Kind::Config)?;
        let merged = adapter::merged(&tensors, base.as_ref().map(|base| &base.tensors), adapter.as_deref());
        let merged =
            merged.map_err(|cause| CheckpointError::Adapter { path: weights_path.clone(), cause })?;
        let (tensors, merged) = match merged {
            Some(merged) => (merged.file, Some((merged.consumed, merged.note))),
            None => (tensors, None),
        };
        if let Some(mut base) = base {
            // Config, tokenizer and processor are the base's.
            base.sources.extend(sources);
            return Ok(Checkpoint { tensors, merged, ..*base });
        }
        let config = config_beside(&folder)?;
        let is_sharded = sources.len() > 1;
        Ok(Checkpoint {
            merged,
            path: path.to_owned(),
            weights_path,
            folder: Some(folder),
            artifact,
            is_sharded,
            parts,
            distributed: index,
            sources,
            tensors,
            config,
            part_numbers: Vec::new(),
        })
    }

    /// A checkpoint of tensors without a file, such as computed ones; `path` is its display name.
    pub fn of_tensors(path: impl Into<PathBuf>, tensors: Arc<dyn TensorFile>) -> Checkpoint {
        let path = path.into();
        Checkpoint {
            weights_path: path.clone(),
            path,
            folder: None,
            artifact: None,
            is_sharded: false,
            parts: Vec::new(),
            distributed: None,
            sources: Vec::new(),
            tensors,
            config: None,
            merged: None,
            part_numbers: Vec::new(),
        }
    }

    /// The tensors of several sources that become one model. `base` gives it its name and the files beside the weights;
    /// `files` are all weight files, each with the number of its source.
    pub(crate) fn composed(
        base: &Checkpoint,
        tensors: Arc<dyn TensorFile>,
        files: Vec<(usize, Arc<FileSource>)>,
    ) -> Checkpoint {
        let (part_numbers, sources) = files.into_iter().unzip();
        Checkpoint {
            folder: base.folder.clone(),
            artifact: base.artifact.clone(),
            weights_path: base.weights_path.clone(),
            sources,
            part_numbers,
            ..Checkpoint::of_tensors(base.path.clone(), tensors)
        }
    }

    /// For each of [`Checkpoint::sources`] the number of the source that it belongs to, where there are several.
    pub(crate) fn part_numbers(&self) -> &[usize] {
        &self.part_numbers
    }

    /// The path that was opened: a file or a folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The weight file, or the index.
    pub fn weights_path(&self) -> &Path {
        &self.weights_path
    }

    /// The repository and commit on the Hub, for weights in the reference client's cache.
    pub fn hub_place(&self) -> Option<HubPlace> {
        HubPlace::of(&self.weights_path)
    }

    /// Every file opened for the weights: the one file, or the index and its shards.
    pub fn sources(&self) -> &[Arc<FileSource>] {
        &self.sources
    }

    /// Total size in bytes of [`Checkpoint::sources`].
    pub fn file_bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.size()).sum()
    }

    /// Format of the files.
    pub fn format(&self) -> FileFormat {
        self.tensors.format()
    }

    /// Whether the weights are spread over several files with an index.
    pub fn is_sharded(&self) -> bool {
        self.is_sharded
    }

    /// The number of a shard that was opened alone, and the number of all; `None` for a whole checkpoint.
    pub fn lone_shard(&self) -> Option<[usize; 2]> {
        let name = self.weights_path.file_name()?.to_str()?;
        folder::shard_of(name).filter(|[_, all]| *all > 1 && !self.is_sharded)
    }

    /// All tensors, of the model and of training.
    pub fn tensors(&self) -> &Arc<dyn TensorFile> {
        &self.tensors
    }

    /// The `open_clip_config.json` beside the weights, and its path.
    pub fn config(&self) -> Option<(&Path, &ConfigFile)> {
        self.config.as_ref().map(|(path, config)| (path.as_path(), config))
    }

    /// The folder's `clipway.json`, if it is an artifact.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.artifact.as_ref()
    }

    /// Contents of a small file beside the weights, such as `config.json`; `None` if it does not exist.
    ///
    /// # Errors
    /// A file that cannot be read, or exceeds the size limit for configs.
    pub(crate) fn read_beside(&self, name: &str) -> Result<Option<Vec<u8>>, CheckpointError> {
        let Some(folder) = self.folder.as_ref().filter(|folder| folder.has(name)) else { return Ok(None) };
        if let Some(artifact) = &self.artifact {
            artifact.check_listed(folder.path(), name)?;
        }
        Ok(folder.read(name, input::Kind::Config)?)
    }

    /// Whether the folder contains anything with this name beside the weights.
    pub(crate) fn has_beside(&self, name: &str) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.has(name))
    }

    /// Checks that no weight file has changed since it was opened.
    ///
    /// # Errors
    /// The first file that has changed or cannot be inspected.
    pub fn check_unchanged(&self) -> Result<(), InputError> {
        self.sources.iter().try_for_each(|source| source.check_unchanged())
    }

    /// Finds the model's weights among the tensors; without a choice, the raw ones if there are any.
    ///
    /// # Errors
    /// Weights that cannot be found, or are not of the chosen kind.
    pub fn weights(&self, choice: Option<WeightsChoice>) -> Result<Weights, SelectError> {
        let weights = Weights::select(Arc::clone(&self.tensors), &|path| self.keys_of(path), choice)?;
        self.without_merged(weights)
    }

    /// What was merged into the weights when they were opened.
    pub(crate) fn merged_note(&self) -> Option<&str> {
        self.merged.as_ref().map(|(_, note)| note.as_str())
    }

    /// Leaves out the tensors that went into others.
    fn without_merged(&self, weights: Weights) -> Result<Weights, SelectError> {
        match &self.merged {
            Some((consumed, _)) => weights.without_stored(consumed),
            None => Ok(weights),
        }
    }

    /// Finds the model's tensors where more is said about them than which weights to take: a prefix, or names to leave
    /// out. Parts of names that wrappers put in are removed.
    ///
    /// # Errors
    /// As [`Checkpoint::weights`], and a prefix or a pattern that fits no name.
    pub(crate) fn select(&self, selection: &Selection) -> Result<Weights, SelectError> {
        let weights = match (self.weights(selection.choice), &selection.under) {
            (Ok(weights), None) => weights.without_wrappers()?,
            (Ok(weights), Some(prefix)) => match weights.clone().without_wrappers()?.under(prefix) {
                // A name of the file itself, with the levels above the weights.
                Err(SelectError::NoPrefix { .. }) => {
                    Weights::whole(Arc::clone(&self.tensors)).under(prefix)?
                }
                found => found?,
            }
            .without_wrappers()?,
            (Err(_), Some(prefix)) => {
                Weights::whole(Arc::clone(&self.tensors)).under(prefix)?.without_wrappers()?
            }
            (Err(error), None) => return Err(error),
        };
        self.without_merged(weights)?.ignoring(&selection.ignore)
    }
}

/// Opens the weight file that a path refers to, and its folder.
fn open_weights(path: &Path, elsewhere: &Elsewhere) -> Result<(Arc<FileSource>, Folder), CheckpointError> {
    let name = path.file_name().and_then(|name| name.to_str());
    if let Some(name) = name.filter(|name| elsewhere.get(name).is_some()) {
        let folder = Folder::open_if_any(path.parent().unwrap_or(Path::new("")))?.with(elsewhere);
        return Ok((Arc::new(folder.file(name, input::Kind::Weights)?), folder));
    }
    let metadata =
        std::fs::metadata(path).map_err(|cause| InputError::Io { path: path.to_owned(), cause })?;
    if metadata.is_dir() {
        let (folder, name) = place::weights_in(path, elsewhere)?;
        let source = folder.file(&name, input::Kind::Weights)?;
        return Ok((Arc::new(source), folder));
    }
    if path.to_string_lossy().ends_with(distributed::PART) {
        return Err(CheckpointError::DistributedPart { path: path.to_owned() });
    }
    Ok((Arc::new(input::open(path, input::Kind::Weights)?), Folder::of(path)?.with(elsewhere)))
}

/// Why a file cannot be opened: what it is, where it is another program's or one step of DeepSpeed's, else what is wrong.
fn named_error(source: &FileSource, folder: &Folder, cause: FormatError) -> CheckpointError {
    let path = source.path().to_owned();
    let head = head_of(source).unwrap_or_default();
    match cause.code {
        _ if foreign::is_packed(&path, &head, &cause) => CheckpointError::Packed { path },
        Code::UnknownFormat => match foreign::of_file(&path, &head) {
            Some(program) => CheckpointError::OtherFile { path, program },
            None => CheckpointError::Format { path, cause },
        },
        Code::Missing if folder::is_universal(folder.path()) => {
            CheckpointError::Universal { folder: folder.path().to_owned() }
        }
        _ => CheckpointError::Format { path, cause },
    }
}

/// Checks that the weight files and the config are listed by the artifact.
fn check_listed(
    artifact: &Artifact,
    folder: &Folder,
    sources: &[Arc<FileSource>],
) -> Result<(), CheckpointError> {
    let mut names: Vec<&Path> = sources
        .iter()
        .map(|source| source.path().strip_prefix(folder.path()).unwrap_or(source.path()))
        .collect();
    if folder.has(CONFIG_NAME) {
        names.push(Path::new(CONFIG_NAME));
    }
    for name in names {
        artifact.check_listed(folder.path(), &name.to_string_lossy())?;
    }
    Ok(())
}

/// The config in the folder of the weights.
fn config_beside(folder: &Folder) -> Result<Option<(PathBuf, ConfigFile)>, CheckpointError> {
    let Some(bytes) = folder.read(CONFIG_NAME, input::Kind::Config)? else { return Ok(None) };
    let path = folder.path().join(CONFIG_NAME);
    match ConfigFile::parse(&bytes) {
        Ok(config) => Ok(Some((path, config))),
        Err(cause) => Err(CheckpointError::Format { path, cause }),
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("path", &self.path).finish_non_exhaustive()
    }
}
