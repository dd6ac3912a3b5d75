//! Loading a model for a program that keeps it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use clipway_formats::shown_path;
use clipway_model::artifact::Artifact;
use clipway_model::config::ModelConfig;
use clipway_model::plan::Towers;
use clipway_model::registry;
use clipway_run::clip::Clip;
use clipway_run::engine::Processor;
use clipway_run::image::DecodeLimits;
use clipway_run::load::{self as run, LoadedTokenizer};
use clipway_run::text::{FolderTokenizer, TextReading, Tokenizer};

use super::{CallError, Failure, OptionValue, words};
use crate::failure::chain;
use crate::hub::{self, Reads};
use crate::options::Global;
use crate::running::{ModelArguments, Origin};
use crate::source::{self, MainSource};
use crate::ui::{Kept, Ui};
use crate::{bad_option, pool};

/// What loading takes: the options of `embed` that concern the model.
#[derive(Parser)]
#[command(name = "load", disable_help_flag = true)]
struct LoadArguments {
    #[command(flatten)]
    source: MainSource,

    /// Towers to load
    #[arg(long, value_enum, default_value_t = TowersName::Both)]
    towers: TowersName,

    /// What to check before loading: the hashes of an exported folder, or nothing
    #[arg(long, value_enum, default_value_t = Check::None)]
    verify: Check,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    global: Global,
}

/// Towers by name.
#[derive(Clone, Copy, ValueEnum)]
enum TowersName {
    /// Those that the source has
    Both,
    /// The image tower
    Image,
    /// The text tower
    Text,
}

/// What to check before loading.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Check {
    /// The hashes in `clipway.json`
    Hashes,
    /// Nothing
    None,
}

/// A model with what runs it.
pub struct LoadedModel {
    /// The model.
    pub clip: Clip,
    /// Its threads. With one thread it computes on the caller's.
    pub processor: Processor,
    /// Which images are decoded.
    pub limits: DecodeLimits,
    /// Where its files are.
    pub path: PathBuf,
    /// What was assumed, and other notes that a user must see.
    pub notes: Vec<String>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// What it was loaded from.
    pub origin: ModelOrigin,
}

/// What a model was loaded from.
#[derive(Debug)]
pub struct ModelOrigin(Origin);

impl ModelOrigin {
    /// The fingerprint of the space of its features. The weights are read again if no `clipway.json` lists them, and ONNX graphs
    /// always.
    ///
    /// # Errors
    /// Weights or a tokenizer that cannot be read any more.
    pub fn fingerprint(&self, clip: &Clip) -> Result<String, CallError> {
        Ok(self.0.identity(clip)?.fingerprint().to_owned())
    }
}

/// Loads a model: the source and options as `clipway embed` takes them.
///
/// # Errors
/// Options that there are not, and a source that cannot be found, read or run.
pub fn load(
    source: OsString,
    options: Vec<(String, OptionValue)>,
    cancel: Arc<AtomicBool>,
) -> Result<LoadedModel, CallError> {
    let mut parsed = LoadArguments::parsed(source, options)?;
    let ui = Ui::keeping(&parsed.global, cancel);
    let (clip, origin) = pool::run(&ui, || parsed.load(&ui)).map_err(|failure| ui.cause(failure))?;
    let processor = pool::processor(&ui)?.clone();
    let limits = parsed.model.images.limits();
    let Kept { notes, warnings, .. } = ui.into_kept();
    let (path, origin) = (parsed.source.name.to_path_buf(), ModelOrigin(origin));
    Ok(LoadedModel { clip, processor, limits, path, notes, warnings, origin })
}

/// Loads the tokenizer of a source without its weights, or that of a registered model whose vocabulary is CLIP's.
///
/// # Errors
/// As [`load`], and a source without the files of its tokenizer.
pub fn load_tokenizer(
    source: OsString,
    options: Vec<(String, OptionValue)>,
    cancel: Arc<AtomicBool>,
) -> Result<Tokenizer, CallError> {
    let registered = source.to_str().filter(|_| !Path::new(&source).exists());
    let registered = registered.and_then(|name| registry::model(name).ok());
    let mut parsed = LoadArguments::parsed(source, options)?;
    let ui = Ui::keeping(&parsed.global, cancel);
    let found = pool::run(&ui, || parsed.tokenizer(registered, &ui)).map_err(|failure| ui.cause(failure))?;
    let missing = || {
        Failure::could_not_run("missing-tokenizer", "the files of its tokenizer are missing")
            .hint("name a folder or a repository that has them")
    };
    Ok(found.ok_or_else(missing)?)
}

/// The options of [`load`] for a manual.
pub fn load_help() -> String {
    words::help(&built())
}

fn built() -> clap::Command {
    let mut command = LoadArguments::command();
    command.build();
    command
}

impl LoadArguments {
    fn parsed(source: OsString, options: Vec<(String, OptionValue)>) -> Result<LoadArguments, CallError> {
        let command = built();
        let mut arguments = vec![OsString::from("load")];
        arguments.extend(words::words(&command, options, vec![source])?);
        let parsed = command.try_get_matches_from(arguments);
        let parsed = parsed.and_then(|found| LoadArguments::from_arg_matches(&found));
        let parsed = parsed.map_err(|error| bad_option(&error))?;
        parsed.global.raise_limits();
        Ok(parsed)
    }

    /// The tokenizer of a registered model, or of the source; none if its files are missing.
    fn tokenizer(&mut self, model: Option<ModelConfig>, ui: &Ui) -> Result<Option<Tokenizer>, Failure> {
        if let Some(model) = model {
            let found = FolderTokenizer::read(&model.text, TextReading::OpenClip, &[]);
            let found = found.map_err(|error| Failure::no(error.code(), chain(&error)))?;
            return Ok(found.map(|found| found.tokenizer));
        }
        for source in self.model.source.sources(&mut self.source.name)? {
            hub::bring(source, Reads::Headers, ui)?;
        }
        let name = &self.source.name;
        let options = self.model.source.options(Some(name));
        let folder = self.model.reading.tokenizer.as_deref();
        let source = run::resolve(&self.model.source.open(name)?, &options, folder);
        let source = source.map_err(|error| source::load_failure(&error))?;
        let found = LoadedTokenizer::find(&source, folder.unwrap_or(source.folder()));
        let found = found.map_err(|error| source::load_failure(&error))?;
        Ok(found.map(|found| found.tokenizer.tokenizer))
    }

    fn load(&mut self, ui: &Ui) -> Result<(Clip, Origin), Failure> {
        for source in self.model.source.sources(&mut self.source.name)? {
            hub::bring(source, Reads::Weights, ui)?;
        }
        let name = &self.source.name;
        if self.verify == Check::Hashes {
            check_hashes(name)?;
        }
        let towers = match self.towers {
            TowersName::Both => Towers::Both,
            TowersName::Image => Towers::Image,
            TowersName::Text => Towers::Text,
        };
        self.model.load(name, towers, ui)
    }
}

/// Checks every file of an exported folder against `clipway.json`.
fn check_hashes(folder: &Path) -> Result<(), Failure> {
    let refuse = |error| source::artifact_failure(&error);
    if Artifact::find(folder).map_err(refuse)?.is_none() {
        let message = format!("`{}` has no `clipway.json` to check", shown_path(folder));
        return Err(Failure::could_not_run("missing", message).hint("load it without checking hashes"));
    }
    let report = Artifact::check_hashes(folder).map_err(refuse)?;
    if report.is_right() {
        return Ok(());
    }
    let found = report.differences.join("; ");
    let message = format!("`{}` does not match `clipway.json`: {found}", shown_path(folder));
    Err(Failure::no("checksum", message))
}
