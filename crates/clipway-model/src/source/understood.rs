//! What the tensors of a source are, before the options of a run change anything: read from a checkpoint, or stated by a
//! composition of sources.

use std::path::PathBuf;
use std::sync::Arc;

use clipway_formats::{FormatError, TensorInfo};

use super::config::{ConfigOrigin, LOGIT_BIAS, Resolved, identified, resolve};
use super::differing::differences;
use super::trainer_log::TrainerLog;
use super::{Composed, SourceError, SourceOptions, forced, notes, pixels, select, text_model};
use crate::artifact::Artifact;
use crate::checkpoint::Checkpoint;
use crate::config::{ConfigFile, ModelConfig};
use crate::differences::Differences;
use crate::layout::{self, Layout, LayoutError};
use crate::plan::{Converted, Towers};
use crate::state_dict::Weights;

/// The tensors of a source, and what they are.
pub(super) struct Understood {
    pub(super) weights: Weights,
    pub(super) layout: &'static Layout,
    /// Numbers among the tensors that contradict them.
    pub(super) numbers: Differences,
    pub(super) converted: Converted,
    pub(super) tower: Towers,
    pub(super) base: ConfigFile,
    pub(super) origin: ConfigOrigin,
    /// Preprocessing; what is wrong with it is reported after all tensor differences.
    pub(super) pixels: Result<pixels::Found, SourceError>,
    /// The file that describes the text model.
    pub(super) text_model_file: Option<Vec<u8>>,
    /// What a user should know of the tensors, and of the config.
    pub(super) notes: [Vec<String>; 2],
}

impl Understood {
    /// Finds out what a checkpoint holds.
    pub(super) fn read(
        checkpoint: &Checkpoint,
        artifact: Option<&Artifact>,
        options: &SourceOptions,
    ) -> Result<Understood, SourceError> {
        let path = || checkpoint.path().to_owned();
        let (weights, weights_note) = select(checkpoint, &options.selection)
            .map_err(|cause| SourceError::Select { path: path(), cause })?;
        let found = Layout::recognize(&weights.state_dict);
        let refuse = |cause| SourceError::Layout { path: path(), cause: Box::new(cause) };
        if let Some(cause) = layout::other_kind(checkpoint, found)? {
            return Err(refuse(cause));
        }
        let Some(layout) = found else {
            let names = weights.state_dict.tensors().iter().map(|tensor| &tensor.name);
            return Err(SourceError::unknown_layout(path(), names));
        };
        let numbers = layout
            .check_numbers(&weights.state_dict)
            .map_err(|cause| SourceError::Read { path: checkpoint.weights_path().to_owned(), cause })?;
        let mut converted = layout.convert(&weights.state_dict).map_err(refuse)?;
        let forms = layout::plain_forms(layout, &weights.state_dict, &converted)
            .map_err(|cause| refuse(cause.into()))?;
        let log = TrainerLog::find(checkpoint.weights_path())?;
        let is_logged =
            |form: &&Converted| log.as_ref().is_some_and(|log| log.fits(&identified(&form.infos())));
        let mut form = forms.iter().find(is_logged).cloned();
        if let Some(form) = &form {
            converted.clone_from(form);
        }
        let infos = converted.infos();
        let tower = tower(path, artifact, &infos, options.tower)?;
        let told = || layout.known_config(checkpoint, &weights.state_dict, &infos).map_err(refuse);
        // The log of another run, whose model does not match these weights, is no evidence.
        let log = log.filter(|log| log.fits(&identified(&infos)));
        let resolved = resolve(checkpoint, options.model.as_ref(), told, &infos, log.as_ref());
        let Resolved { config: mut base, origin } = resolved.map_err(|error| match error {
            SourceError::Candidates(mut candidates) => {
                candidates.differences.clone_from(&numbers);
                if let Some(plain) = forced::identified_plain(&forms) {
                    candidates.identification = plain;
                }
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
        if form.is_none() {
            form = forced::of_model(&forms, layout, &base.model, tower);
            if let Some(form) = &form {
                converted.clone_from(form);
            }
        }
        let bias_note = add_logit_bias(&mut base.model, &origin, &infos)
            .map_err(|cause| SourceError::Config { path: path(), cause })?;
        let pixels = pixels::find(&mut base, &origin, options, log.as_ref(), tower);
        let log_notes = log.as_ref().map(|log| log.apply(&mut base, &origin)).transpose()?;
        let text_model = match &origin {
            // Its `config.json` is of the whole model.
            ConfigOrigin::Layout(_) => None,
            _ => text_model::find(checkpoint, &base.model, &origin, &infos)?,
        };
        let mut of_tensors = notes::about(checkpoint, &weights, options);
        of_tensors.extend(weights_note);
        of_tensors.extend(forced::is_forced(layout, form.is_some()).then(|| forced::NOTE.to_owned()));
        let mut of_config: Vec<String> = log_notes.into_iter().flatten().chain(bias_note).collect();
        let text_model_file = match text_model {
            Some(described) => {
                base.model.set_text_model(described.model);
                of_config.push(described.note);
                Some(described.file)
            }
            None => origin.text_model_file(),
        };
        let notes = [of_tensors, of_config];
        Ok(Understood {
            weights,
            layout,
            numbers,
            converted,
            tower,
            base,
            origin,
            pixels,
            text_model_file,
            notes,
        })
    }

    /// Takes what a composition states of its tensors.
    pub(super) fn stated(
        checkpoint: &Checkpoint,
        composed: &Composed,
        wanted: Option<Towers>,
    ) -> Result<Understood, SourceError> {
        let path = || checkpoint.path().to_owned();
        let converted = composed.converted.clone();
        let tower = tower(path, None, &converted.infos(), wanted)?;
        Ok(Understood {
            weights: Weights::whole(Arc::clone(checkpoint.tensors())),
            layout: composed.layout,
            numbers: Differences::default(),
            converted,
            tower,
            base: composed.config.clone(),
            origin: composed.origin.clone(),
            pixels: Ok(pixels::Found::default()),
            text_model_file: composed.text_model_file.clone().or_else(|| composed.origin.text_model_file()),
            notes: [composed.notes.clone(), Vec::new()],
        })
    }
}

/// The towers to use: the requested ones if the source has them, else all existing ones.
fn tower(
    path: impl Fn() -> PathBuf,
    artifact: Option<&Artifact>,
    tensors: &[TensorInfo],
    wanted: Option<Towers>,
) -> Result<Towers, SourceError> {
    let there = || Towers::of(tensors.iter().map(|tensor| tensor.name.as_str()));
    let found = artifact.map(|artifact| artifact.model.towers).or_else(there).unwrap_or_default();
    match (wanted.unwrap_or(found), found) {
        (wanted, Towers::Both) => Ok(wanted),
        (wanted, found) if wanted == found => Ok(found),
        (wanted, found) => Err(SourceError::NoTower { path: path(), wanted, found }),
    }
}

/// Adds a logit bias to a config without one if the weights have it: any model gets one by training with SigLIP's loss, and the
/// registered configs are of those trained without. Returns a note.
fn add_logit_bias(
    model: &mut ModelConfig,
    origin: &ConfigOrigin,
    tensors: &[TensorInfo],
) -> Result<Option<String>, FormatError> {
    let has_bias = tensors.iter().any(|tensor| tensor.name == LOGIT_BIAS);
    if model.init_logit_bias.is_some() || !has_bias || matches!(origin, ConfigOrigin::Layout(_)) {
        return Ok(None);
    }
    model.add_logit_bias()?;
    let note = "the weights have a `logit_bias`, as those trained with SigLIP's loss, which the config does not state; it is \
                kept, and the config states it";
    Ok(Some(note.to_owned()))
}
