//! A source, resolved once: its weights, layout, config and origin, model and plan.
//!
//! Running, inspecting, exporting and verifying all start from a [`Source`]. Resolving reads names, dtypes and shapes;
//! the only weights it reads are numbers that a layout stores among its tensors.

mod activation;
mod composed;
mod config;
mod contract;
mod digest;
mod error;
mod differing;
mod forced;
mod grids;
mod notes;
mod pixels;
mod positions;
mod scalar;
mod text_model;
mod trainer_log;
mod understood;
mod vocabulary;
mod weights;

pub use composed::Composed;
pub use config::{Candidates, ConfigOrigin, LayoutOrigin, Mismatch, ModelChoice};
pub use error::SourceError;
pub use vocabulary::{Vocabulary, VocabularyError};

use std::path::Path;
use std::sync::Arc;

use crate::architecture::{Model, build, is_folded_name};
use crate::artifact::{Artifact, Part};
use crate::checkpoint::{Checkpoint, OpenOptions};
use crate::config::{ConfigFile, PreprocessOptions, TextConfig};
use crate::contract::{Contract, Known, Origin, TokenizerRules};
use crate::layout::Layout;
use crate::license::Licenses;
use crate::plan::{Ledger, Plan, PlanError, PlanOptions, Precision, Towers, build_plan};
use crate::state_dict::{Selection, Weights};
use config::identified;
use grids::Asked;
use positions::saved_for_its_images;
use understood::Understood;
use vocabulary::{TEXT_MODEL, Trimmed, text_model_path};
pub(crate) use weights::select;

/// Options for a source. What is not given is found out.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// How to open its files.
    pub open: OpenOptions,
    /// Which model the weights are; by default the config beside them, or the only match.
    pub model: Option<ModelChoice>,
    /// Which tensors are the model's.
    pub selection: Selection,
    /// Which towers to use; by default all existing ones.
    pub tower: Option<Towers>,
    /// Dtype to round floating-point tensors to; by default each stays as it is.
    pub precision: Option<Precision>,
    /// New height and width of images, in pixels: the position embedding is resampled.
    pub image_size: Option<[usize; 2]>,
    /// Images keep their proportions, with at most this many patches: only for towers that take any (NaFlex).
    pub max_patches: Option<usize>,
    /// Images have the tower's one size, even if the source's own library keeps their proportions; what is written for other
    /// libraries needs that.
    pub one_size: bool,
    /// New context length: the position embedding is resampled.
    pub context_length: Option<usize>,
    /// Tokens to keep of the text tower's vocabulary; by default all.
    pub vocabulary: Option<Arc<Vocabulary>>,
    /// Preprocessing settings that override the config's.
    pub preprocess: PreprocessOptions,
    /// Whether to fold training branches into one convolution.
    pub fold: bool,
    /// How the tensors of several sources become one model: what mixes of sources have.
    pub composed: Option<Arc<Composed>>,
    /// Whether to ignore a `clipway.json` beside the weights, so that the source is read as its own library reads it.
    pub ignore_artifact: bool,
}

/// A resolved source: what the weights are, and how they become the tensors of a model.
#[derive(Clone, Debug)]
pub struct Source {
    checkpoint: Arc<Checkpoint>,
    weights: Weights,
    selection: Selection,
    layout: &'static Layout,
    config: ConfigFile,
    origin: ConfigOrigin,
    model: Model,
    plan: Plan,
    ledger: Ledger,
    tower: Towers,
    precision: Option<Precision>,
    contract: Contract,
    licenses: Licenses,
    ignores_artifact: bool,
    trimmed: Option<Trimmed>,
    text_model_file: Option<Vec<u8>>,
    parts: Vec<Part>,
    notes: Vec<String>,
}

impl Source {
    /// Opens a weight file, a shard index or a folder, and resolves what it is.
    ///
    /// # Errors
    /// A source that cannot be opened, an unknown config, or weights that do not match the config.
    pub fn resolve(path: impl AsRef<Path>, options: &SourceOptions) -> Result<Source, SourceError> {
        Source::of(Checkpoint::open_with(path, options.open.clone())?, options)
    }

    /// Resolves an opened checkpoint.
    ///
    /// # Errors
    /// The errors of [`Source::resolve`].
    pub fn of(
        checkpoint: impl Into<Arc<Checkpoint>>,
        options: &SourceOptions,
    ) -> Result<Source, SourceError> {
        let checkpoint = checkpoint.into();
        let shard = checkpoint.lone_shard();
        let path = checkpoint.path().to_owned();
        // A shard may hold a whole tower.
        source_of(checkpoint, options).map_err(|error| match (shard, &error) {
            (
                Some([number, all]),
                SourceError::Mismatch(_)
                | SourceError::Candidates(_)
                | SourceError::Layout { .. }
                | SourceError::NoTower { .. }
                | SourceError::UnknownLayout { .. },
            ) => SourceError::Shard { path, number, all },
            _ => error,
        })
    }

    /// The opened files.
    pub fn checkpoint(&self) -> &Arc<Checkpoint> {
        &self.checkpoint
    }

    /// Path that was opened: a file or a folder.
    pub fn path(&self) -> &Path {
        self.checkpoint.path()
    }

    /// Name of what was opened, without its path; for a path without a name, such as `.`, the folder's.
    pub fn shown_name(&self) -> String {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let path = self.path();
        name(path).or_else(|| path.canonicalize().ok().and_then(|path| name(&path))).unwrap_or_default()
    }

    /// The folder of the weights.
    pub fn folder(&self) -> &Path {
        self.checkpoint.weights_path().parent().unwrap_or(Path::new(""))
    }

    /// The weights, and what was beside them.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Which tensors were taken, so that the same can be taken again.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The layout of the weights' names and shapes.
    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// The config: model and preprocessing.
    pub fn config(&self) -> &ConfigFile {
        &self.config
    }

    /// The config's origin.
    pub fn origin(&self) -> &ConfigOrigin {
        &self.origin
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How the weights become the model's tensors, under open_clip's names.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where every tensor of the checkpoint goes.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The towers in use.
    pub fn tower(&self) -> Towers {
        self.tower
    }

    /// Dtype that floating-point tensors are rounded to; `None` if each stays as it is.
    pub fn precision(&self) -> Option<Precision> {
        self.precision
    }

    /// Everything besides the weights that decides features, with the origin of each part; without the logit scale and
    /// bias, which are among the weights.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Everything that states its license.
    pub fn licenses(&self) -> &Licenses {
        &self.licenses
    }

    /// The contract including the logit scale and bias, which are read from the weights.
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

    /// Sets the tokenizer and its cleaning, known to whoever reads its files.
    pub fn set_tokenizer(&mut self, rules: Known<TokenizerRules>, cleaning_from: Origin) {
        if let Some(text) = &mut self.contract.text {
            text.cleaning = Some(Known::new(rules.value.clean, cleaning_from));
            text.tokenizer = Some(rules);
        }
    }

    /// Adds notes on the tokenizer.
    pub fn add_notes(&mut self, notes: impl IntoIterator<Item = String>) {
        self.notes.extend(notes);
    }

    /// Contradictions between files of which one is used, as the source's library does; by the name of the other file.
    pub fn disagreements(&self) -> &[(&'static str, Vec<String>)] {
        match &self.origin {
            ConfigOrigin::Layout(layout) => &layout.disagreements,
            _ => &[],
        }
    }

    /// The source's `clipway.json`, if it is an artifact and read as one.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.checkpoint.artifact().filter(|_| !self.ignores_artifact)
    }

    /// The `config.json` of a transformers text model, which an export carries along.
    pub(crate) fn text_model_file(&self) -> Option<&[u8]> {
        self.text_model_file.as_deref()
    }

    /// Where an artifact has that file.
    pub(crate) fn text_model_path(&self) -> String {
        text_model_path(&self.config.model.text)
    }

    /// Whether open_clip finds the text model's description only in the working folder.
    pub fn has_local_text_model(&self) -> bool {
        let tower = &self.config.model.text.hugging_face;
        tower.as_ref().is_some_and(|tower| tower.model_name == TEXT_MODEL)
    }

    /// The tokens that are kept of the vocabulary, and the text tower's config before it was trimmed; `None` if all are.
    pub fn vocabulary(&self) -> Option<(&Arc<Vocabulary>, &TextConfig)> {
        self.trimmed.as_ref().map(|trimmed| (&trimmed.vocabulary, &trimmed.text))
    }

    /// The sources that it was put together from; empty where there is one.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What a user should know about the source.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

fn source_of(checkpoint: Arc<Checkpoint>, options: &SourceOptions) -> Result<Source, SourceError> {
    let path = || checkpoint.path().to_owned();
    let composed = options.composed.as_deref();
    // What the options say of a source was said of each of its parts.
    let of_parts =
        composed.map(|_| SourceOptions { model: None, selection: Selection::default(), ..options.clone() });
    let options = of_parts.as_ref().unwrap_or(options);
    let artifact = checkpoint.artifact().filter(|_| !options.ignore_artifact && composed.is_none());
    let understood = match composed {
        Some(composed) => Understood::stated(&checkpoint, composed, options.tower)?,
        None => Understood::read(&checkpoint, artifact, options)?,
    };
    let Understood { weights, layout, numbers, mut converted, tower, mut base, origin, .. } = understood;
    let infos = converted.infos();
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
    let (mut config, mut model) = resized.unwrap_or((config, model));
    if tower != Towers::Text {
        let stated = artifact.filter(|_| options.image_size.is_none()).and_then(Artifact::rule_with_grids);
        let asked = Asked {
            most: options.max_patches,
            one_size: options.one_size || options.image_size.is_some(),
            replaces_rule: options.preprocess != PreprocessOptions::default(),
        };
        let rules = [stated, base.preprocess.rule.as_ref()];
        config.preprocess.rule = grids::rule(&config, &model, &asked, rules)?;
    }
    let mut text_model_file = understood.text_model_file;
    let trimmed = match &options.vocabulary {
        Some(vocabulary) => {
            let text = config.model.text.clone();
            (model, text_model_file) =
                vocabulary::trim(vocabulary, &mut config, &model, (tower, text_model_file), &mut converted)
                    .map_err(|cause| SourceError::Vocabulary { path: path(), cause })?;
            Some(Trimmed { vocabulary: Arc::clone(vocabulary), text })
        }
        None => None,
    };
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
    let pixels = understood.pixels?;
    let ledger = Ledger::balance(checkpoint.tensors().tensors(), &weights, &plan)?;
    let (activation_from, activation_notes) = activation::known_from(&base, &config, &origin);
    let mut origins = origin.stated();
    origins.merge(pixels.origins);
    origins.merge(contract::said(options));
    let mut contract = contract::Read {
        config: &config,
        origin: &origin,
        origins,
        model: &model,
        tower,
        activation_from,
        artifact,
    }
    .contract();
    let [mut notes, of_config] = understood.notes;
    match composed {
        Some(composed) => contract.remember_parts(&composed.contract),
        None => notes.extend(activation_notes),
    }
    let licenses = match composed {
        Some(composed) => Licenses::agreed(&composed.contract),
        None => Licenses::of(&checkpoint, artifact).with_tag(match &options.model {
            Some(ModelChoice::Tag(entry)) => Some(entry),
            _ => None,
        }),
    };
    licenses.apply(&mut contract);
    if let (Some(text), Some(vocabulary)) = (&mut contract.text, &options.vocabulary) {
        text.vocabulary = Some(Known::new(vocabulary.choice.clone(), Origin::option("vocabulary_from")));
    }
    notes.extend(pixels.notes);
    notes.extend(of_config);
    notes.extend((tower != Towers::Text).then(|| notes::of_any_proportions(&config)).flatten());
    notes.extend(is_resized.then(|| positions::NOTE.to_owned()));
    if options.model.is_some() && checkpoint.config().is_none() {
        let told = layout.known_config(&checkpoint, &weights.state_dict, &infos).ok().flatten();
        notes.extend(told.and_then(|told| activation::not_used(layout, &told, &config)));
    }
    Ok(Source {
        selection: Selection { choice: Some(weights.choice), ..options.selection.clone() },
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
        licenses,
        ignores_artifact: options.ignore_artifact,
        trimmed,
        text_model_file,
        parts: composed.map(|composed| composed.parts.clone()).unwrap_or_default(),
        notes,
        checkpoint,
    })
}

/// The config with the requested changes.
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
        // What an export writes must be readable again, so the limits of a config apply.
        let text = config.model.to_config_file(&config.preprocess());
        ConfigFile::parse(text.as_bytes()).map_err(refuse("preprocessing"))?;
    }
    Ok(config)
}
