//! A source, resolved once: which weights, which layout, which config and where it comes from, which model, which plan.
//!
//! Running, inspecting, exporting and verifying all start from a [`Source`]. Resolving reads names, dtypes and shapes;
//! numbers that a layout keeps among its tensors are the only weights that are read.

mod activation;
mod config;
mod contract;
mod error;
mod notes;
mod pixels;
mod positions;
mod scalar;
mod text_model;
mod trainer_log;

pub use config::{Candidates, ConfigOrigin, LayoutOrigin, Mismatch, ModelChoice};
pub use error::SourceError;

use std::path::Path;
use std::sync::Arc;

use crate::architecture::{Model, build, is_folded_name};
use crate::artifact::Artifact;
use crate::checkpoint::{Checkpoint, OpenOptions};
use crate::config::{ConfigFile, ModelConfig, PreprocessOptions};
use crate::contract::{Contract, Known, Origin, TokenizerRules};
use crate::differences::Differences;
use crate::layout::{Layout, LayoutError};
use crate::plan::{Converted, Ledger, Plan, PlanError, PlanOptions, Precision, Towers, build_plan};
use crate::state_dict::{Weights, WeightsChoice};
use config::{Resolved, identified, resolve};
use positions::saved_for_its_images;
use trainer_log::TrainerLog;

/// What is said about a source beyond its path. What is left out is found out.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// How its files are opened.
    pub open: OpenOptions,
    /// Which model the weights are; without it the config beside them, or the only one that fits.
    pub model: Option<ModelChoice>,
    /// Raw or averaged weights, where there are both; raw without it.
    pub weights: Option<WeightsChoice>,
    /// Which towers are taken; without it all that the source has.
    pub tower: Option<Towers>,
    /// Dtype that floating-point tensors are rounded to; without it each stays as it is.
    pub precision: Option<Precision>,
    /// Another height and width of images, in pixels: the position embedding is resampled.
    pub image_size: Option<[usize; 2]>,
    /// Another number of tokens of a text: the position embedding is resampled.
    pub context_length: Option<usize>,
    /// What is to be said about preprocessing, over what the config says.
    pub preprocess: PreprocessOptions,
    /// Whether branches that were trained to be one convolution become that.
    pub fold: bool,
    /// Whether a `clipway.json` beside the weights is left unread, so that the source is what its own library reads.
    pub ignore_artifact: bool,
}

/// A source that is understood: what the weights are, and how they become the tensors of a model.
#[derive(Clone, Debug)]
pub struct Source {
    checkpoint: Arc<Checkpoint>,
    weights: Weights,
    layout: &'static Layout,
    config: ConfigFile,
    origin: ConfigOrigin,
    model: Model,
    plan: Plan,
    ledger: Ledger,
    tower: Towers,
    precision: Option<Precision>,
    contract: Contract,
    ignores_artifact: bool,
    text_model_file: Option<Vec<u8>>,
    notes: Vec<String>,
}

impl Source {
    /// Opens a file of weights, an index of shards, or a folder, and resolves what it is.
    ///
    /// # Errors
    /// If it cannot be opened, the config cannot be known, or the weights are not those of the config.
    pub fn resolve(path: impl AsRef<Path>, options: &SourceOptions) -> Result<Source, SourceError> {
        Source::of(Checkpoint::open_with(path, options.open)?, options)
    }

    /// Resolves an opened checkpoint.
    ///
    /// # Errors
    /// As [`Source::resolve`].
    pub fn of(
        checkpoint: impl Into<Arc<Checkpoint>>,
        options: &SourceOptions,
    ) -> Result<Source, SourceError> {
        source_of(checkpoint.into(), options)
    }

    /// The opened files.
    pub fn checkpoint(&self) -> &Arc<Checkpoint> {
        &self.checkpoint
    }

    /// Path that was opened: a file or a folder.
    pub fn path(&self) -> &Path {
        self.checkpoint.path()
    }

    /// The folder in which the weights lie.
    pub fn folder(&self) -> &Path {
        self.checkpoint.weights_path().parent().unwrap_or(Path::new(""))
    }

    /// The weights, and what was beside them.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Whose names and shapes the weights have.
    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// The config: model and preprocessing.
    pub fn config(&self) -> &ConfigFile {
        &self.config
    }

    /// Where the config comes from.
    pub fn origin(&self) -> &ConfigOrigin {
        &self.origin
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What makes the model's tensors of the weights, under open_clip's names.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where every tensor of the checkpoint goes.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The towers that were taken.
    pub fn tower(&self) -> Towers {
        self.tower
    }

    /// Dtype that floating-point tensors are rounded to; `None` where each stays as it is.
    pub fn precision(&self) -> Option<Precision> {
        self.precision
    }

    /// Everything but the weights that decides features, and where each part is known from; without the logit scale and
    /// bias, which are among the weights.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// The contract with the logit scale and bias, which are read from the weights.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub fn whole_contract(&self) -> Result<Contract, SourceError> {
        let name = |id| self.model.parameters.get(id).name.as_str();
        let known = |id| -> Result<Option<Known<f32>>, SourceError> {
            let tensor = name(id);
            let value = scalar::read(&self.plan, &self.weights.state_dict, tensor).map_err(|cause| {
                SourceError::Read { path: self.checkpoint.weights_path().to_owned(), cause }
            })?;
            let from = Origin::Weights { tensor: tensor.to_owned() };
            Ok(value.map(|value| Known::new(value, from)))
        };
        let scale = known(self.model.logit_scale)?;
        Ok(Contract {
            logit_scale: scale.map(|scale| Known::new(scale.value.exp(), scale.from)),
            logit_bias: self.model.logit_bias.map_or(Ok(None), known)?,
            ..self.contract.clone()
        })
    }

    /// States the tokenizer, which whoever reads its files knows, and how it cleans texts.
    pub fn set_tokenizer(&mut self, rules: Known<TokenizerRules>, cleaning_from: Origin) {
        if let Some(text) = &mut self.contract.text {
            text.cleaning = Some(Known::new(rules.value.clean, cleaning_from));
            text.tokenizer = Some(rules);
        }
    }

    /// What the source's `clipway.json` says, if it is an artifact and is read as one.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.checkpoint.artifact().filter(|_| !self.ignores_artifact)
    }

    /// The `config.json` of a text model of transformers, which an export carries along.
    pub(crate) fn text_model_file(&self) -> Option<&[u8]> {
        self.text_model_file.as_deref()
    }

    /// What a user must know about the source.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

fn source_of(checkpoint: Arc<Checkpoint>, options: &SourceOptions) -> Result<Source, SourceError> {
    let path = || checkpoint.path().to_owned();
    let artifact = checkpoint.artifact().filter(|_| !options.ignore_artifact);
    let tower = tower(&checkpoint, artifact, options.tower)?;
    let weights =
        checkpoint.weights(options.weights).map_err(|cause| SourceError::Select { path: path(), cause })?;
    let Some(layout) = Layout::recognize(&weights.state_dict) else {
        let names = weights.state_dict.tensors().iter().map(|tensor| &tensor.name);
        return Err(SourceError::unknown_layout(path(), names));
    };
    let refuse = |cause| SourceError::Layout { path: path(), cause: Box::new(cause) };
    let numbers = layout
        .check_numbers(&weights.state_dict)
        .map_err(|cause| SourceError::Read { path: checkpoint.weights_path().to_owned(), cause })?;
    let converted = layout.convert(&weights.state_dict).map_err(refuse)?;
    let infos = converted.infos();
    let told = || layout.known_config(&checkpoint, &weights.state_dict, &infos).map_err(refuse);
    let log = TrainerLog::find(checkpoint.weights_path())?;
    // A log of another run, whose model these weights do not fit, is no evidence.
    let log = log.filter(|log| log.fits(&identified(&infos)));
    let resolved = resolve(&checkpoint, options.model.as_ref(), told, &infos, log.as_ref());
    let Resolved { config: mut base, origin } = resolved.map_err(|error| match error {
        SourceError::Candidates(mut candidates) => {
            candidates.differences.clone_from(&numbers);
            SourceError::Candidates(candidates)
        }
        SourceError::Layout { path, mut cause } => {
            if let LayoutError::Contradictions(found) = &mut *cause {
                let known = found.known.as_ref().map(|known| &known.config.model);
                let told = known.and_then(|model| differences(layout, converted.clone(), model, tower));
                found.differences = told.unwrap_or_default();
            }
            SourceError::Layout { path, cause }
        }
        error => error,
    })?;
    // What is unknown of the images is said after everything in which the tensors differ.
    let found = pixels::find(&mut base, &origin, options, log.as_ref(), tower);
    let log_notes = log.as_ref().map(|log| log.apply(&mut base, &origin)).transpose()?;
    let text_model = text_model::find(&checkpoint, &base.model)?;
    if let Some(described) = &text_model {
        base.model.set_text_model(described.model.clone());
    }
    let folded_source = infos.iter().any(|tensor| is_folded_name(&tensor.name));
    base.model.folded |= folded_source;
    if options.fold && folded_source {
        return Err(SourceError::AlreadyFolded { path: path() });
    }
    let config = changed(&base, options)?;
    let model =
        build(&config.model).map_err(|cause| SourceError::Architecture { model: origin.shown(), cause })?;
    let resized = saved_for_its_images(&config, &model, &infos);
    let is_resized = resized.is_some();
    let (config, model) = resized.unwrap_or((config, model));
    let plan_options = PlanOptions { precision: options.precision, tower, fold: options.fold };
    let configs = [&base.model, &config.model];
    let plan = build_plan(layout.name, converted, configs, &model.parameters, plan_options);
    let plan = numbers.add_to(plan).map_err(|cause| match cause {
        PlanError::Differs(differences) => {
            let (path, identification) = (path(), identified(&infos));
            let (model, given) = (origin.shown(), origin.name().map(str::to_owned));
            Box::new(Mismatch { path, model, given, differences: *differences, identification }).into()
        }
        cause => SourceError::Plan { path: path(), cause },
    })?;
    let found = found?;
    let ledger = Ledger::balance(checkpoint.tensors().tensors(), &weights, &plan)?;
    let (activation_from, activation_notes) = activation::known_from(&base, &config, &origin);
    let mut origins = origin.stated();
    origins.merge(found.origins);
    origins.merge(contract::said(options));
    let contract = contract::Read {
        config: &config,
        origin: &origin,
        origins,
        model: &model,
        tower,
        activation_from,
        artifact,
    }
    .contract();
    let mut notes = notes::about(&checkpoint, &weights, options);
    notes.extend(activation_notes);
    notes.extend(found.notes);
    notes.extend(log_notes.into_iter().flatten());
    notes.extend(text_model.as_ref().map(|_| text_model::NOTE.to_owned()));
    notes.extend(is_resized.then(|| positions::NOTE.to_owned()));
    if options.model.is_some() && checkpoint.config().is_none() {
        let told = told().ok().flatten();
        notes.extend(told.and_then(|told| activation::not_used(layout, &told, &config)));
    }
    Ok(Source {
        weights,
        layout,
        config,
        origin,
        model,
        plan,
        ledger,
        tower,
        precision: options.precision,
        contract,
        ignores_artifact: options.ignore_artifact,
        text_model_file: text_model.map(|described| described.file),
        notes,
        checkpoint,
    })
}

/// The towers to take: those that were asked for, if the source has them, else all that it has.
fn tower(
    checkpoint: &Checkpoint,
    artifact: Option<&Artifact>,
    wanted: Option<Towers>,
) -> Result<Towers, SourceError> {
    let found = artifact.map_or(Towers::Both, |artifact| artifact.model.towers);
    match (wanted.unwrap_or(found), found) {
        (wanted, Towers::Both) => Ok(wanted),
        (wanted, found) if wanted == found => Ok(found),
        (wanted, found) => Err(SourceError::NoTower { path: checkpoint.path().to_owned(), wanted, found }),
    }
}

/// In what tensors differ from those of a model.
fn differences(
    layout: &Layout,
    converted: Converted,
    model: &ModelConfig,
    tower: Towers,
) -> Option<Differences> {
    let parameters = build(model).ok()?.parameters;
    let options = PlanOptions { tower, ..PlanOptions::default() };
    match build_plan(layout.name, converted, [model, model], &parameters, options) {
        Err(PlanError::Differs(differences)) => Some(*differences),
        _ => None,
    }
}

/// The config with the changes that were asked for.
fn changed(base: &ConfigFile, options: &SourceOptions) -> Result<ConfigFile, SourceError> {
    let mut config = base.clone();
    config.model.folded |= options.fold;
    let refuse = |change| move |cause| SourceError::Change { change, cause };
    if let Some(size) = options.image_size {
        config.model.set_image_size(size).map_err(refuse("image size"))?;
    }
    if let Some(length) = options.context_length {
        config.model.set_context_length(length).map_err(refuse("context length"))?;
    }
    let said = config.preprocess.merged(&options.preprocess);
    config.preprocess = PreprocessOptions { size: None, ..said };
    if options.preprocess != PreprocessOptions::default() {
        // What an export writes must be read again, so it is held to the limits of a config.
        let text = config.model.to_config_file(&config.preprocess());
        ConfigFile::parse(text.as_bytes()).map_err(refuse("preprocessing"))?;
    }
    Ok(config)
}
