//! Everything of an export that needs no weights: the config, the plan and the ledger. Numbers that a layout keeps
//! among its tensors are all that is read.

use std::path::Path;

use clipway_formats::{FileFormat, shown};

use super::positions::{self, saved_for_its_pictures};
use super::resolve::{Mismatch, ModelChoice, Resolved, identified, resolve};
use super::text_model;
use super::{ConfigOrigin, ExportError};
use crate::architecture::{Model, build, is_folded_name};
use crate::artifact::Artifact;
use crate::checkpoint::{CONFIG_NAME, Checkpoint};
use crate::config::{ConfigFile, ModelConfig, PreprocessOptions};
use crate::differences::Differences;
use crate::layout::{KnownConfig, Layout, LayoutError};
use crate::plan::Converted;
use crate::plan::{Ledger, Plan, PlanError, PlanOptions, Precision, Tower, build_plan};
use crate::registry;
use crate::spelling::{SpellError, Spelled, Spelling};
use crate::state_dict::{Weights, WeightsChoice};

/// What an export is to be.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// Which model the weights are; without it the config beside them, or the only one that fits.
    pub model: Option<ModelChoice>,
    /// Raw or averaged weights, where there are both; raw without it.
    pub weights: Option<WeightsChoice>,
    /// Dtype of floating-point tensors; without it each stays as it is.
    pub precision: Option<Precision>,
    /// Which towers are written.
    pub tower: Tower,
    /// Another height and width of images, in pixels: the position embedding is resampled.
    pub image_size: Option<[usize; 2]>,
    /// Another number of tokens of a text: the position embedding is resampled.
    pub context_length: Option<usize>,
    /// What is to be said about preprocessing, over what the config says.
    pub preprocess: PreprocessOptions,
    /// Whether branches that were trained to be one convolution become that.
    pub fold: bool,
    /// Whose names and files are written.
    pub spelling: &'static Spelling,
}

/// An export that is ready to be written, and can be looked at: no weight has been read.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) weights: Weights,
    pub(super) layout: &'static Layout,
    pub(super) config: ConfigFile,
    pub(super) origin: ConfigOrigin,
    pub(super) model: Model,
    pub(super) plan: Plan,
    pub(super) written: Plan,
    pub(super) spelling: &'static Spelling,
    pub(super) files: Vec<(&'static str, String)>,
    pub(super) ledger: Ledger,
    pub(super) precision: Option<Precision>,
    pub(super) tower: Tower,
    pub(super) activation_from: String,
    pub(super) source_artifact: Option<Artifact>,
    pub(super) text_model_file: Option<Vec<u8>>,
    pub(super) notes: Vec<String>,
}

/// Resolves an export of a checkpoint: finds the weights, the layout and the config, and makes plan and ledger.
///
/// # Errors
/// If the config cannot be known, the weights are not those of the config, or the ledger does not balance.
pub fn prepare<'a>(checkpoint: &'a Checkpoint, options: &ExportOptions) -> Result<Prepared<'a>, ExportError> {
    let path = || checkpoint.path().to_owned();
    let weights =
        checkpoint.weights(options.weights).map_err(|cause| ExportError::Select { path: path(), cause })?;
    let Some(layout) = Layout::recognise(&weights.state_dict) else {
        const MOST_NAMES: usize = 5;
        let tensors = weights.state_dict.tensors().iter().take(MOST_NAMES);
        let names = tensors.map(|tensor| format!("`{}`", shown(&tensor.name))).collect();
        return Err(ExportError::UnknownLayout { path: path(), names });
    };
    let refuse = |cause| ExportError::Layout { path: path(), cause: Box::new(cause) };
    let numbers = layout
        .check_numbers(&weights.state_dict)
        .map_err(|cause| ExportError::Read { path: checkpoint.weights_path().to_owned(), cause })?;
    let converted = layout.convert(&weights.state_dict).map_err(refuse)?;
    let infos = converted.infos();
    let told = || layout.known_config(checkpoint, &weights.state_dict, &infos).map_err(refuse);
    let resolved = resolve(checkpoint, options.model.as_ref(), told, &infos);
    let Resolved { config: mut base, origin } = resolved.map_err(|error| match error {
        ExportError::Candidates(mut candidates) => {
            candidates.differences.clone_from(&numbers);
            ExportError::Candidates(candidates)
        }
        ExportError::Layout { path, mut cause } => {
            if let LayoutError::Contradictions(found) = &mut *cause {
                let known = found.known.as_ref().map(|known| &known.config.model);
                let told =
                    known.and_then(|model| differences(layout, converted.clone(), model, options.tower));
                found.differences = told.unwrap_or_default();
            }
            ExportError::Layout { path, cause }
        }
        error => error,
    })?;
    let text_model = text_model::find(checkpoint, &base.model)?;
    if let Some(described) = &text_model {
        base.model.set_text_model(described.model.clone());
    }
    let folded_source = infos.iter().any(|tensor| is_folded_name(&tensor.name));
    base.model.folded |= folded_source;
    if options.fold && folded_source {
        return Err(ExportError::AlreadyFolded { path: path() });
    }
    let config = changed(&base, options)?;
    let model =
        build(&config.model).map_err(|cause| ExportError::Architecture { model: origin.shown(), cause })?;
    let resized = saved_for_its_pictures(&config, &model, &infos);
    let is_resized = resized.is_some();
    let (config, model) = resized.unwrap_or((config, model));
    let plan_options = PlanOptions { precision: options.precision, tower: options.tower, fold: options.fold };
    let configs = [&base.model, &config.model];
    let plan = build_plan(layout.name, converted, configs, &model.parameters, plan_options);
    let plan = numbers.add_to(plan).map_err(|cause| match cause {
        PlanError::Differs(differences) => {
            let (path, identification) = (path(), identified(&infos));
            let (model, given) = (origin.shown(), origin.name().map(str::to_owned));
            Box::new(Mismatch { path, model, given, differences: *differences, identification }).into()
        }
        cause => ExportError::Plan { path: path(), cause },
    })?;
    let (written, spelled) = spell(&config, &plan, options).map_err(|cause| ExportError::Target {
        model: origin.shown(),
        path: path(),
        cause,
    })?;
    let ledger = Ledger::balance(checkpoint.tensors().tensors(), &weights, &written)?;
    let source_artifact = source_artifact(checkpoint)?;
    let (activation_from, activation_notes) = activation(&base, &config, &origin);
    let mut notes = notes(checkpoint, &weights, options);
    notes.extend(activation_notes);
    if text_model.is_some() {
        let file = crate::config::text_model::CONFIG_NAME;
        notes.push(format!("the text model is the one that `{file}` beside the weights describes"));
    }
    let beyond = config.model.beyond_open_clip();
    if config.model.folded {
        let takes = beyond.is_empty() && options.tower == Tower::Both;
        notes.push(format!("{FOLDED_NOTE}{}", if takes { FOLDED_USAGE } else { "" }));
    }
    notes.extend(is_resized.then(|| positions::NOTE.to_owned()));
    if let Some([height, width]) = model.changed_from {
        notes.push(format!(
            "the image tower's tensors are made for pictures of {height}x{width} and stay as they are: open_clip 3.3.0 \
             takes the folder with `force_image_size`"
        ));
    }
    notes.extend(spelled.notes);
    if options.spelling.is_open_clip && !beyond.is_empty() {
        notes.push(format!(
            "open_clip 3.3.0 cannot load this folder: its configs do not have `{}`",
            beyond.join("`, `")
        ));
    }
    if options.model.is_some() && checkpoint.config().is_none() {
        let told = told().ok().flatten();
        notes.extend(told.and_then(|told| not_used(layout, &told, &config)));
    }
    let (precision, tower) = (options.precision, options.tower);
    Ok(Prepared {
        checkpoint,
        weights,
        layout,
        config,
        origin,
        model,
        plan,
        written,
        spelling: options.spelling,
        files: spelled.files,
        ledger,
        precision,
        tower,
        activation_from,
        source_artifact,
        text_model_file: text_model.map(|described| described.file),
        notes,
    })
}

/// In what tensors differ from those of a model.
fn differences(
    layout: &Layout,
    converted: Converted,
    model: &ModelConfig,
    tower: Tower,
) -> Option<Differences> {
    let parameters = build(model).ok()?.parameters;
    let options = PlanOptions { tower, ..PlanOptions::default() };
    match build_plan(layout.name, converted, [model, model], &parameters, options) {
        Err(PlanError::Differs(differences)) => Some(*differences),
        _ => None,
    }
}

/// The plan under the target's names, with the files beside the weights.
fn spell(config: &ConfigFile, plan: &Plan, options: &ExportOptions) -> Result<(Plan, Spelled), SpellError> {
    let Spelling { title, is_open_clip, .. } = *options.spelling;
    if options.tower != Tower::Both && !is_open_clip {
        let problems = vec![format!("`--tower {}`: it has both towers", options.tower.name())];
        return Err(SpellError::Inexpressible { title, problems });
    }
    options.spelling.spell(config, plan)
}

/// What the source says of itself, if it is a folder that was exported before.
fn source_artifact(checkpoint: &Checkpoint) -> Result<Option<Artifact>, ExportError> {
    let folder = checkpoint.weights_path().parent().unwrap_or(Path::new(""));
    Ok(Artifact::find(folder)?)
}

/// What a user must know about a folded model.
const FOLDED_NOTE: &str = "the branches of the image tower are folded for inference: open_clip 3.3.0 cannot load this \
     folder as it is, since it builds the trunk with the branches it was trained with and has no option for the \
     folded form";

/// How open_clip takes it all the same, if it has all else.
const FOLDED_USAGE: &str =
    "; after `timm.utils.reparameterize_model` its model takes these weights (see README.md)";

/// The config with the changes that were asked for.
fn changed(base: &ConfigFile, options: &ExportOptions) -> Result<ConfigFile, ExportError> {
    let mut config = base.clone();
    config.model.folded |= options.fold;
    let refuse = |option| move |cause| ExportError::Option { option, cause };
    if let Some(size) = options.image_size {
        config.model.set_image_size(size).map_err(refuse("--image-size"))?;
    }
    if let Some(length) = options.context_length {
        config.model.set_context_length(length).map_err(refuse("--context-length"))?;
    }
    let said = config.preprocess.merged(&options.preprocess);
    config.preprocess = PreprocessOptions { size: None, ..said };
    Ok(config)
}

/// Where the activation is known from, and what must be said about it.
fn activation(base: &ConfigFile, config: &ConfigFile, origin: &ConfigOrigin) -> (String, Vec<String>) {
    let taken = if config.model.quick_gelu { "QuickGELU" } else { "GELU" };
    let from = match origin {
        ConfigOrigin::File(_) | ConfigOrigin::Given | ConfigOrigin::Beside
            if base.model.states_quick_gelu() =>
        {
            "stated by the config"
        }
        ConfigOrigin::File(_) | ConfigOrigin::Given | ConfigOrigin::Beside => {
            "open_clip's default: the config states none"
        }
        ConfigOrigin::Named(_) => "the registry's config of the name that was given",
        ConfigOrigin::OnlyFit(_) => "the registry's only config that fits; no shape shows the activation",
        ConfigOrigin::Layout(origin) => return (origin.activation_from.clone(), origin.notes.clone()),
    };
    let note = match origin {
        ConfigOrigin::Named(name) => twin(name).map(|twin| {
            format!(
                "`{name}` and `{twin}` have the same shapes and differ in the activation: {taken} was taken, \
                 because `{name}` was given"
            )
        }),
        ConfigOrigin::OnlyFit(name) => Some(format!(
            "`{name}` is the only registered model with these shapes; its activation, {taken}, was taken"
        )),
        ConfigOrigin::File(_) | ConfigOrigin::Given | ConfigOrigin::Beside | ConfigOrigin::Layout(_) => None,
    };
    (from.to_owned(), note.into_iter().collect())
}

/// What must be said where the model was given although the layout tells one.
fn not_used(layout: &Layout, told: &KnownConfig, config: &ConfigFile) -> Option<String> {
    let name = |quick_gelu| if quick_gelu { "QuickGELU" } else { "GELU" };
    let [ours, theirs] = [config, &told.config].map(|config| name(config.model.quick_gelu));
    (ours != theirs).then(|| {
        format!(
            "the model that was given has {ours}, but {} says {theirs} ({})",
            layout.title, told.activation_from
        )
    })
}

/// The registered model that differs in the activation alone.
fn twin(name: &str) -> Option<String> {
    let twin = match name.strip_suffix("-quickgelu") {
        Some(plain) => plain.to_owned(),
        None => format!("{name}-quickgelu"),
    };
    registry::names().any(|known| known == twin).then_some(twin)
}

/// What a user must know about the source and the result.
fn notes(checkpoint: &Checkpoint, weights: &Weights, options: &ExportOptions) -> Vec<String> {
    let mut notes = Vec::new();
    if weights.has_both && options.weights.is_none() {
        notes.push(
            "the checkpoint also holds EMA weights; the raw ones were taken, as open_clip does \
             (`--weights ema` takes the others)"
                .to_owned(),
        );
    }
    if weights.choice == WeightsChoice::Ema && options.weights.is_none() {
        notes.push("the checkpoint holds EMA weights only; they were taken".to_owned());
    }
    if options.model.is_some() && checkpoint.config().is_some() {
        notes.push(format!("`{CONFIG_NAME}` beside the weights was not used, because the model was given"));
    }
    let dangerous = checkpoint.dangerous_globals();
    if !dangerous.is_empty() {
        notes.push(format!(
            "the pickle names functions that run code where it is executed, which was not done here: {}",
            dangerous.join(", ")
        ));
    }
    let is_archive = matches!(checkpoint.format(), FileFormat::PytorchZip | FileFormat::TorchScript);
    if is_archive && !checkpoint.writer().has_checksums {
        notes.push(
            "the source was written without checksums: a bit that flipped in it is not seen".to_owned(),
        );
    }
    if options.tower != Tower::Both && options.spelling.is_open_clip {
        notes.push(format!(
            "only the {} tower is here: open_clip cannot load this folder",
            options.tower.name()
        ));
    }
    notes
}

impl<'a> Prepared<'a> {
    /// The checkpoint of the source.
    pub fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }

    /// The config of the result: model and preprocessing.
    pub fn config(&self) -> &ConfigFile {
        &self.config
    }

    /// Where the config comes from.
    pub fn origin(&self) -> &ConfigOrigin {
        &self.origin
    }

    /// The model of the result.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The weights of the source, and what was beside them.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The layout of the source.
    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// What makes the model's tensors, under open_clip's names.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What makes the tensors that are written, under the target's names.
    pub fn written_plan(&self) -> &Plan {
        &self.written
    }

    /// Whose names and files are written.
    pub fn spelling(&self) -> &'static Spelling {
        self.spelling
    }

    /// Where every tensor of the source goes.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What a user must know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}
