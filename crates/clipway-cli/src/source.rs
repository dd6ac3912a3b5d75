//! Sources on the command line: which checkpoint, which model, which of its weights.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use clipway_model::artifact::{Artifact, ArtifactError};
use clipway_model::checkpoint::{Checkpoint, CheckpointError, OpenOptions};
use clipway_model::export::{ExportError, ExportOptions, ModelChoice, prepare};
use clipway_model::plan::Tower;
use clipway_model::state_dict::WeightsChoice;
use clipway_run::clip::{Clip, ClipError};
use clipway_run::engine::Processor;
use clipway_run::load::{LoadError, LoadOptions};

use crate::failure::{COULD_NOT_RUN, Failure, INTERRUPTED, List, NO, chain};
use crate::ui::Ui;

/// Which weights of a checkpoint are taken.
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

/// How a source is read.
#[derive(Args)]
pub struct SourceOptions {
    /// What the weights are, where no config lies beside them: a registered name or a config file
    #[arg(long, value_name = "NAME|FILE.json")]
    pub model: Option<String>,

    /// Which weights to take from a checkpoint that has both
    #[arg(long, value_enum)]
    pub weights: Option<WeightsName>,

    /// Read PyTorch files whose pickle names dangerous functions too; none is called
    #[arg(long)]
    pub allow_opaque: bool,
}

impl SourceOptions {
    /// Opens a source; no weight is read.
    pub fn open(&self, path: &Path) -> Result<Checkpoint, Failure> {
        let options = OpenOptions { allow_opaque: self.allow_opaque };
        Checkpoint::open_with(path, options).map_err(|error| checkpoint_failure(&error))
    }

    /// What was said about the source, for [`prepare`].
    pub fn export_options(&self) -> ExportOptions {
        ExportOptions {
            model: self.model.as_deref().map(ModelChoice::of),
            weights: self.weights.map(WeightsChoice::from),
            ..ExportOptions::default()
        }
    }
}

/// Loads the towers of a folder or another source, to run it: those that are wanted and there.
pub fn load_to_run(
    path: &Path,
    options: &SourceOptions,
    towers: Tower,
    apply_orientation: bool,
    ui: &Ui,
) -> Result<Clip, Failure> {
    let checkpoint = options.open(path)?;
    let there = tower_of(&checkpoint)?;
    let export_options = ExportOptions { tower: there, ..options.export_options() };
    let prepared = prepare(&checkpoint, &export_options).map_err(|error| export_failure(&error))?;
    let towers = match (towers, there) {
        (Tower::Both, _) => there,
        (wanted, Tower::Both) => wanted,
        (wanted, there) if wanted == there => wanted,
        (wanted, there) => {
            let (path, wanted, there) = (path.display(), wanted.name(), there.name());
            return Err(Failure::no(
                "missing",
                format!("`{path}` has the {there} tower only, not the {wanted} tower"),
            ));
        }
    };
    let load = LoadOptions { towers, apply_orientation, ..LoadOptions::new(processor(ui)?) };
    Clip::load(&prepared, &load).map_err(|error| load_failure(&error))
}

/// The towers that a source has: those that its `clipway.json` says, else both.
pub fn tower_of(checkpoint: &Checkpoint) -> Result<Tower, Failure> {
    Artifact::towers_in(&folder_of(checkpoint)).map_err(|error| artifact_failure(&error))
}

/// A processor with the threads that were asked for.
pub fn processor(ui: &Ui) -> Result<Processor, Failure> {
    Processor::with_threads(ui.threads()).map_err(|error| Failure::could_not_run("threads", chain(&error)))
}

/// The folder in which the weights lie.
pub fn folder_of(checkpoint: &Checkpoint) -> PathBuf {
    checkpoint.weights_path().parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// What a source that cannot be opened means for the exit status.
pub fn checkpoint_failure(error: &CheckpointError) -> Failure {
    let exit_code = match error {
        CheckpointError::Io { .. } => COULD_NOT_RUN,
        _ => NO,
    };
    Failure { exit_code, hint: error.hint(), ..Failure::no(error.code(), chain(error)) }
}

/// What a refused export means for the exit status.
pub fn export_failure(error: &ExportError) -> Failure {
    let exit_code = match error {
        ExportError::Open(error) => checkpoint_failure(error).exit_code,
        ExportError::Output(_) | ExportError::UnknownModel(_) | ExportError::Candidates(_) => COULD_NOT_RUN,
        ExportError::Interrupted => INTERRUPTED,
        _ => NO,
    };
    let list = List::of(error);
    Failure { exit_code, hint: error.hint(), list, ..Failure::no(error.code(), chain(error)) }
}

/// What an artifact that cannot be read means for the exit status.
pub fn artifact_failure(error: &ArtifactError) -> Failure {
    let exit_code = if matches!(error, ArtifactError::Io { .. }) { COULD_NOT_RUN } else { NO };
    Failure { exit_code, ..Failure::no(error.code(), chain(error)) }
}

/// What a model that cannot be loaded means for the exit status.
pub fn load_failure(error: &LoadError) -> Failure {
    let exit_code = if matches!(error, LoadError::Io { .. }) { COULD_NOT_RUN } else { NO };
    Failure { exit_code, ..Failure::no(error.code(), chain(error)) }
}

/// What a refused input means for the exit status.
pub fn clip_failure(error: &ClipError) -> Failure {
    let hint = match error {
        ClipError::NoTokenizer => {
            Some("export again with the tokeniser's files beside the weights (`tokenizer.json`)".to_owned())
        }
        ClipError::NotFinite { .. } => {
            Some("`clipway inspect SOURCE --stats` lists the tensors with NaN or infinities".to_owned())
        }
        ClipError::Image { cause, .. } => cause.hint().map(str::to_owned),
        _ => None,
    };
    Failure { hint, ..Failure::no(error.code(), chain(error)) }
}
