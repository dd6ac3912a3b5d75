//! Sources on the command line: which checkpoint, which model, which of its weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use clipway_formats::shown_path;
use clipway_model::artifact::ArtifactError;
use clipway_model::checkpoint::{Checkpoint, CheckpointError, OpenOptions};
use clipway_model::export::ExportError;
use clipway_model::source::{ModelChoice, Source, SourceError, SourceOptions};
use clipway_model::state_dict::{Selection, WeightsChoice};
use clipway_run::clip::ClipError;
use clipway_run::engine::{Passes, Processor};
use clipway_run::load::{LoadError, LoadOptions};
use clipway_run::onnx::{OnnxError, OnnxFolder, OnnxFolderError, OnnxRuntime, OrtProvider};

use crate::failure::{self, COULD_NOT_RUN, Failure, INTERRUPTED, List, chain};
use crate::source_name::SourceName;
use crate::ui::Ui;
use crate::{hints, pool};

/// Which weights of a checkpoint to use.
#[derive(Clone, Copy, ValueEnum)]
pub enum WeightsName {
    /// The weights themselves
    Raw,
    /// Their exponential moving average
    Ema,
}

impl From<WeightsName> for WeightsChoice {
    fn from(name: WeightsName) -> WeightsChoice {
        match name {
            WeightsName::Raw => WeightsChoice::Raw,
            WeightsName::Ema => WeightsChoice::Ema,
        }
    }
}

/// What computes features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// clipway's engine
    Engine,
    /// rten, a runtime of ONNX files
    Rten,
    /// ONNX Runtime, from the library that `ORT_DYLIB_PATH` names
    Ort,
    /// The same on NVIDIA GPUs
    OrtCuda,
    /// The same on NVIDIA GPUs, by TensorRT
    OrtTensorrt,
    /// The same on Apple's GPUs and neural engines
    OrtCoreml,
    /// The same on GPUs on Windows
    OrtDirectml,
    /// The same on AMD GPUs
    OrtMigraphx,
    /// The same by OpenVINO
    OrtOpenvino,
}

impl Backend {
    /// What runs ONNX files; `None` for the engine, which does not.
    pub fn runtime(self) -> Option<OnnxRuntime> {
        let provider = match self {
            Backend::Engine => return None,
            Backend::Rten => return Some(OnnxRuntime::Rten),
            Backend::Ort => OrtProvider::Cpu,
            Backend::OrtCuda => OrtProvider::Cuda,
            Backend::OrtTensorrt => OrtProvider::TensorRt,
            Backend::OrtCoreml => OrtProvider::CoreMl,
            Backend::OrtDirectml => OrtProvider::DirectMl,
            Backend::OrtMigraphx => OrtProvider::MiGraphX,
            Backend::OrtOpenvino => OrtProvider::OpenVino,
        };
        Some(OnnxRuntime::Ort(provider))
    }
}

/// The source of a command that has one, unless `--model` and `--pretrained` name it.
#[derive(Args)]
pub struct MainSource {
    /// Weight file, shard index, folder, `hf-hub:OWNER/NAME`, or NAME:TAG
    #[arg(
        id = "source",
        value_name = "SOURCE",
        required_unless_present = "pretrained",
        default_value = "",
        hide_default_value = true
    )]
    pub name: SourceName,
}

/// How to read a source.
#[derive(Args, Default)]
pub struct SourceArguments {
    /// Model to use if the weights have no config beside them: a registered name or a config file
    #[arg(long, value_name = "NAME|FILE.json")]
    pub model: Option<String>,

    /// Pretrained weights of `--model` instead of a source: a tag of open_clip's registry, or a file
    #[arg(long, value_name = "TAG|FILE", requires = "model")]
    pub pretrained: Option<String>,

    /// Weights to use if the checkpoint has both
    #[arg(long, value_enum)]
    pub weights: Option<WeightsName>,

    /// What computes: the engine, or rten or ONNX Runtime from ONNX files [default: rten for ONNX files, else the engine]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,

    /// Prefix of the names below which the model lies, such as `student.clip`
    #[arg(long, value_name = "PREFIX")]
    pub under: Option<String>,

    /// Names of tensors that are not the model's, such as `head.*`; can be repeated
    #[arg(long, value_name = "PATTERN")]
    pub ignore: Vec<String>,

    /// The model that an adapter (LoRA) changes: a file or a folder; the adapter is merged into it
    #[arg(long, value_name = "SOURCE")]
    pub base: Option<SourceName>,

    /// Read PyTorch files even if the pickle names dangerous functions; none is called
    #[arg(long)]
    pub allow_opaque: bool,
}

impl SourceArguments {
    /// Fills in the source that `--model` and `--pretrained` name.
    pub fn name(&mut self, source: &mut SourceName) -> Result<(), Failure> {
        let (Some(model), Some(pretrained)) = (&self.model, self.pretrained.take()) else { return Ok(()) };
        if !source.is_empty() {
            let message = format!("`{}` and `--pretrained` both name the source", source.said());
            return Err(Failure::could_not_run("bad-option", message).hint("pass one of them"));
        }
        *source = SourceName::pretrained(model, &pretrained)?;
        if source.tag().is_some() {
            self.model = None;
        }
        Ok(())
    }

    /// As [`SourceArguments::name`], where other paths follow the source: if the options name it, all are such paths.
    pub fn name_before(&mut self, source: &mut SourceName, others: &mut Vec<PathBuf>) -> Result<(), Failure> {
        if self.pretrained.is_some() && !source.is_empty() {
            others.insert(0, std::mem::take(source).to_path_buf());
        }
        self.name(source)
    }

    /// A source that these may name, and the base of an adapter.
    pub fn sources<'a>(&'a mut self, source: &'a mut SourceName) -> Result<Vec<&'a mut SourceName>, Failure> {
        self.name(source)?;
        Ok(self.with_base(source))
    }

    /// A source, and the base of an adapter.
    pub fn with_base<'a>(&'a mut self, source: &'a mut SourceName) -> Vec<&'a mut SourceName> {
        let mut sources = vec![source];
        sources.extend(&mut self.base);
        sources
    }

    /// Opens a source without reading weights.
    pub fn open(&self, source: &SourceName) -> Result<Arc<Checkpoint>, Failure> {
        let opened = Checkpoint::open_with(&**source, self.open_options(Some(source)));
        opened.map(Arc::new).map_err(|error| checkpoint_failure(&error))
    }

    fn open_options(&self, source: Option<&SourceName>) -> OpenOptions {
        let base = self.base.as_ref().map(|base| base.to_path_buf());
        let elsewhere = source.map(|source| source.elsewhere().clone()).unwrap_or_default();
        OpenOptions { allow_opaque: self.allow_opaque, base, elsewhere }
    }

    /// Which tensors are the model's.
    pub fn selection(&self) -> Selection {
        Selection {
            choice: self.weights.map(WeightsChoice::from),
            under: self.under.clone(),
            ignore: self.ignore.clone(),
        }
    }

    /// The options given for a source, or for what several were put together to.
    pub fn options(&self, source: Option<&SourceName>) -> SourceOptions {
        let named = source.and_then(SourceName::model);
        let of_base = || self.base.as_ref().and_then(SourceName::model);
        SourceOptions {
            open: self.open_options(source),
            model: self.model.as_deref().map(ModelChoice::of).or(named).or_else(of_base),
            selection: self.selection(),
            ..SourceOptions::default()
        }
    }
}

/// Resolves what a checkpoint is.
pub fn resolve(checkpoint: &Arc<Checkpoint>, options: &SourceOptions) -> Result<Source, Failure> {
    Source::of(Arc::clone(checkpoint), options).map_err(|error| source_failure(&error))
}

/// The ONNX graphs of a path, where they are to be run as they are.
pub fn graphs(path: &Path, backend: Option<Backend>) -> Result<Option<OnnxFolder>, Failure> {
    let Some(runtime) = backend.map_or(Some(OnnxRuntime::default()), Backend::runtime) else {
        return Ok(None);
    };
    match OnnxFolder::is_at(path).then(|| OnnxFolder::open(path)) {
        Some(Ok(folder)) => Ok(Some(OnnxFolder { runtime, ..folder })),
        // A file of weights alone is a source as any other.
        Some(Err(OnnxFolderError::NoTower { .. })) if backend.is_none() && path.is_file() => Ok(None),
        Some(Err(error)) => Err(onnx_failure(&error)),
        None => match backend.and_then(|backend| backend.to_possible_value()) {
            Some(backend) => {
                let (backend, path) = (backend.get_name(), shown_path(path));
                let message = format!("`--backend {backend}`: `{path}` has no ONNX files");
                Err(Failure::could_not_run("bad-option", message)
                    .hint("write them with `clipway export --to onnx`"))
            }
            None => Ok(None),
        },
    }
}

/// What graphs that cannot be read or run mean for the exit status.
pub fn onnx_failure(error: &OnnxFolderError) -> Failure {
    match error {
        OnnxFolderError::Input(error) => failure::input(error),
        OnnxFolderError::Load(error) => load_failure(error),
        OnnxFolderError::Run(error) => clip_failure(error),
        OnnxFolderError::Graph { cause: OnnxError::NoRuntime { .. }, .. } => {
            Failure::could_not_run(error.code(), chain(error)).hint(
                "build clipway with `--features ort`, and set `ORT_DYLIB_PATH` to ONNX Runtime's library, 1.17 or later",
            )
        }
        _ => Failure { exit_code: failure::exit_of(error.code()), ..Failure::no(error.code(), chain(error)) },
    }
}

/// The processor of the command.
pub fn processor(ui: &Ui) -> Result<Processor, Failure> {
    pool::processor(ui).cloned()
}

/// How to load a model: with the requested threads, within the memory limit.
pub fn load_options(ui: &Ui) -> Result<LoadOptions, Failure> {
    let passes = if ui.debug().no_passes { Passes::NONE } else { Passes::ALL };
    let (budget, times) = (ui.budget(), ui.step_times());
    Ok(LoadOptions { passes, budget, times, ..LoadOptions::new(processor(ui)?) })
}

/// Failure, with its exit status, for a source that cannot be opened.
pub fn checkpoint_failure(error: &CheckpointError) -> Failure {
    match error {
        CheckpointError::Input(error) => failure::input(error),
        CheckpointError::Artifact(error) => artifact_failure(error),
        _ => {
            let exit_code = failure::exit_of(error.code());
            Failure {
                exit_code,
                hint: hints::of_checkpoint(error),
                ..Failure::no(error.code(), chain(error))
            }
        }
    }
}

/// Failure, with its exit status, for a source that cannot be resolved.
pub fn source_failure(error: &SourceError) -> Failure {
    let exit_code = match error {
        SourceError::Open(error) => return checkpoint_failure(error),
        SourceError::UnknownModel(_) | SourceError::Candidates(_) => COULD_NOT_RUN,
        other => failure::exit_of(other.code()),
    };
    let list = List::of(error.differences(), &error.problems());
    Failure { exit_code, hint: hints::of_source(error), list, ..Failure::no(error.code(), chain(error)) }
}

/// Failure, with its exit status, for a refused export.
pub fn export_failure(error: &ExportError) -> Failure {
    let exit_code = match error {
        ExportError::Source(error) => return source_failure(error),
        ExportError::Input(error) => return failure::input(error),
        ExportError::Output(_) => COULD_NOT_RUN,
        ExportError::Interrupted => INTERRUPTED,
        other => failure::exit_of(other.code()),
    };
    let list = List::of(error.differences(), &error.problems());
    Failure { exit_code, hint: hints::of_export(error), list, ..Failure::no(error.code(), chain(error)) }
}

/// Failure, with its exit status, for an artifact that cannot be read.
pub fn artifact_failure(error: &ArtifactError) -> Failure {
    let failure = match error {
        ArtifactError::Input(error) => return failure::input(error),
        _ => Failure { exit_code: failure::exit_of(error.code()), ..Failure::no(error.code(), chain(error)) },
    };
    match error {
        ArtifactError::Unlisted { .. } => {
            failure.hint("remove the file from the folder, or export again from the source")
        }
        _ => failure,
    }
}

/// Failure, with its exit status, for a model that cannot be loaded.
pub fn load_failure(error: &LoadError) -> Failure {
    match error {
        LoadError::Source(error) => source_failure(error),
        LoadError::Input(error) => failure::input(error),
        LoadError::Artifact(error) => artifact_failure(error),
        LoadError::Budget { .. } if error.code() == "too-large" => {
            Failure::no(error.code(), chain(error)).hint(BUDGET_HINT)
        }
        LoadError::Processor(_) => Failure::could_not_run(error.code(), chain(error)),
        _ => {
            let exit_code = failure::exit_of(error.code());
            Failure { exit_code, ..Failure::no(error.code(), chain(error)) }
        }
    }
}

/// What to do about a model that needs more than its budget.
const BUDGET_HINT: &str = "check the image size, patch size and lengths in the config; `--max-memory` and `--max-compute` raise the limits";

/// Failure, with its exit status, for a refused input.
pub fn clip_failure(error: &ClipError) -> Failure {
    let exit_code = failure::exit_of(error.code());
    Failure { exit_code, hint: hints::of_clip(error), ..Failure::no(error.code(), chain(error)) }
}
