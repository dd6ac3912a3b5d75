//! Which config the weights have: what was said, then what it means. Nothing is guessed.

use std::fmt;
use std::path::{Path, PathBuf};

use clipway_formats::{FormatError, TensorInfo, read_all, shown};

use super::ExportError;
use crate::checkpoint::{CONFIG_NAME, Checkpoint, CheckpointError, FileSource};
use crate::config::{ConfigFile, ModelConfig, PreprocessOptions};
use crate::graph::Parameter;
use crate::plan::Misfit;
use crate::registry;

pub use crate::registry::UnknownModel;

/// Most bytes of a config.
const LARGEST_CONFIG: u64 = 1 << 20;

/// Which model the weights are said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelChoice {
    /// A name of the registry.
    Name(String),
    /// A config file.
    File(PathBuf),
}

impl ModelChoice {
    /// What `--model` means: a path if it ends in `.json`, else a name.
    pub fn of(text: &str) -> ModelChoice {
        if text.to_ascii_lowercase().ends_with(".json") {
            ModelChoice::File(text.into())
        } else {
            ModelChoice::Name(text.to_owned())
        }
    }
}

/// Where a config comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// From the registry, by the name that was given.
    Named(String),
    /// From the file that was given.
    File(PathBuf),
    /// From the config beside the weights.
    Beside,
    /// From the only name of the registry that the names and shapes fit.
    OnlyFit(String),
}

impl ConfigOrigin {
    /// The registered name, where there is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            ConfigOrigin::Named(name) | ConfigOrigin::OnlyFit(name) => Some(name),
            ConfigOrigin::File(_) | ConfigOrigin::Beside => None,
        }
    }

    /// How a message names the model.
    pub(super) fn shown(&self) -> String {
        match self {
            ConfigOrigin::Named(name) | ConfigOrigin::OnlyFit(name) => format!("`{name}`"),
            ConfigOrigin::File(path) => format!("`{}`", path.display()),
            ConfigOrigin::Beside => format!("the `{CONFIG_NAME}` beside it"),
        }
    }

    /// For the artifact, which holds no folders.
    pub(super) fn recorded(&self) -> String {
        match self {
            ConfigOrigin::Named(name) => format!("registry, `{name}` as given"),
            ConfigOrigin::File(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!("file `{}` as given", shown(&name))
            }
            ConfigOrigin::Beside => format!("`{CONFIG_NAME}` beside the weights"),
            ConfigOrigin::OnlyFit(name) => format!("registry, `{name}`: the only one that names and shapes fit"),
        }
    }
}

/// A config and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The config.
    pub config: ConfigFile,
    /// Where it comes from.
    pub origin: ConfigOrigin,
}

/// The config cannot be known: several fit, or none of the registry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// The source.
    pub path: PathBuf,
    /// Registered names whose tensors have these names and shapes.
    pub names: Vec<String>,
}

impl std::error::Error for Candidates {}

impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if self.names.is_empty() {
            return write!(f, "`{path}` comes without a config, and its shapes are those of no registered model");
        }
        write!(f, "`{path}` comes without a config, and its shapes fit {} models:", self.names.len())?;
        self.names.iter().try_for_each(|name| write!(f, "\n  {name}"))?;
        let quick = |name: &String| name.contains("quickgelu");
        if self.names.iter().any(quick) && !self.names.iter().all(quick) {
            f.write_str("\nthey differ in the activation, which no shape shows")?;
        }
        Ok(())
    }
}

impl Candidates {
    pub(super) fn hint(&self) -> String {
        match self.names.first() {
            Some(name) => format!("pass the one that it is, such as `--model {name}`"),
            None => "pass its config with `--model FILE.json`".to_owned(),
        }
    }
}

/// The weights are not those of the config: everything that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The source.
    pub path: PathBuf,
    /// How the model is called.
    pub model: String,
    /// Tensors of another shape.
    pub mismatched: Vec<Misfit>,
    /// Parameters that are missing.
    pub missing: Vec<Parameter>,
    /// Tensors that are left over.
    pub unused: Vec<TensorInfo>,
    /// Registered names that the shapes fit.
    pub fitting: Vec<String>,
}

impl std::error::Error for Mismatch {}

/// Most lines of each kind in a message.
const MOST_LINES: usize = 20;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` does not match {}", self.path.display(), self.model)?;
        lines(f, &self.mismatched, "of another shape", |Misfit { name, expected, found }| {
            let found = if found.dtype.is_float() {
                format!("{:?}", found.shape)
            } else {
                format!("{} {:?}", found.dtype, found.shape)
            };
            format!("`{}`: expected {expected:?}, found {found}", shown(name))
        })?;
        lines(f, &self.missing, "missing", |parameter| {
            let line = format!("`{}`: expected {:?}, missing", parameter.name, parameter.shape);
            let names = self.unused.iter().map(|tensor| tensor.name.as_str());
            match nearest(&parameter.name, names) {
                Some(name) => format!("{line}; did you mean `{}`?", shown(name)),
                None => line,
            }
        })?;
        lines(f, &self.unused, "left over", |tensor| {
            format!("`{}`: found {:?}, not in the model", shown(&tensor.name), tensor.shape)
        })
    }
}

fn lines<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    kind: &str,
    line: impl Fn(&T) -> String,
) -> fmt::Result {
    items.iter().take(MOST_LINES).try_for_each(|item| write!(f, "\n  {}", line(item)))?;
    match items.len().saturating_sub(MOST_LINES) {
        0 => Ok(()),
        more => write!(f, "\n  … and {more} more {kind}"),
    }
}

/// The name most like another, if it is much like it.
fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const MOST_COMPARED: usize = 2000;
    let scored = among.take(MOST_COMPARED).map(|other| (strsim::normalized_levenshtein(name, other), other));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}

impl Mismatch {
    pub(super) fn hint(&self) -> Option<String> {
        match &self.fitting[..] {
            [] => None,
            [name] => Some(format!("the shapes match `{name}`; pass `--model {name}`")),
            names => {
                let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                Some(format!("the shapes match {}; pass one of them with `--model`", quoted.join(", ")))
            }
        }
    }
}

/// Finds the config of a checkpoint whose tensors have these names and shapes in open_clip.
pub(super) fn resolve(
    checkpoint: &Checkpoint,
    choice: Option<&ModelChoice>,
    tensors: &[TensorInfo],
) -> Result<Resolved, ExportError> {
    match choice {
        Some(ModelChoice::Name(name)) => {
            let config = bare(registry::model(name)?);
            Ok(Resolved { config, origin: ConfigOrigin::Named(name.replace('/', "-")) })
        }
        Some(ModelChoice::File(path)) => {
            let config = read_config(path)?;
            Ok(Resolved { config, origin: ConfigOrigin::File(path.clone()) })
        }
        None => match checkpoint.config() {
            Some((_, config)) => Ok(Resolved { config: config.clone(), origin: ConfigOrigin::Beside }),
            None => {
                let mut names = fitting(tensors);
                match &mut names[..] {
                    [name] => {
                        let config = bare(registry::model(name)?);
                        Ok(Resolved { config, origin: ConfigOrigin::OnlyFit(std::mem::take(name)) })
                    }
                    _ => {
                        let path = checkpoint.path().to_owned();
                        Err(Box::new(Candidates { path, names }).into())
                    }
                }
            }
        },
    }
}

fn bare(model: ModelConfig) -> ConfigFile {
    ConfigFile { model, preprocess: PreprocessOptions::default() }
}

fn read_config(path: &Path) -> Result<ConfigFile, ExportError> {
    let source = FileSource::open(path).map_err(|cause| {
        ExportError::Open(CheckpointError::Io { path: path.to_owned(), cause })
    })?;
    let parsed: Result<ConfigFile, FormatError> =
        read_all(&source, LARGEST_CONFIG).and_then(|bytes| ConfigFile::parse(&bytes));
    parsed.map_err(|cause| ExportError::Config { path: path.to_owned(), cause })
}

/// Registered names whose parameters are these tensors.
pub(super) fn fitting(tensors: &[TensorInfo]) -> Vec<String> {
    let shapes: std::collections::HashMap<&str, &[usize]> =
        tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
    let fits = |name: &&str| {
        let Ok(config) = registry::model(name) else { return false };
        let Ok(model) = crate::architecture::build(&config) else { return false };
        let mut parameters = model.parameters.iter();
        model.parameters.len() == tensors.len()
            && parameters.all(|(_, p)| shapes.get(p.name.as_str()) == Some(&p.shape.as_slice()))
    };
    registry::names().filter(fits).map(str::to_owned).collect()
}
