//! Measures which activation a model was trained with, which no shape shows: both are run on images with their texts.
//!
//! This is evidence, not proof, and nothing is chosen by it: a small model may hardly differ between the two.

mod evidence;
mod pairs;

pub use evidence::{ActivationEvidence, Clarity};

use std::sync::Arc;

use clipway_model::config::{ModelConfig, VisionLayers};
use clipway_model::plan::Towers;
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use serde::Serialize;

use crate::clip::Clip;
use crate::load::LoadOptions;
use crate::verify::VerifyError;

use pairs::Pairs;
pub use pairs::built_in_pairs;

/// Result of comparing the activations.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Weighed {
    /// Both were run.
    Evidence(ActivationEvidence),
    /// They cannot be compared.
    Nothing {
        /// The reason.
        why: String,
    },
}

impl Weighed {
    /// A one-line summary.
    pub fn summary(&self) -> String {
        match self {
            Weighed::Evidence(evidence) => evidence.summary(),
            Weighed::Nothing { why } => format!("the activations were not compared: {why}"),
        }
    }
}

/// Runs a source with its activation, and with the other one in the towers that have a choice.
///
/// # Errors
/// Weights that cannot be read or run.
pub fn weigh_activations(source: &Source, load: &LoadOptions) -> Result<Weighed, VerifyError> {
    let nothing = |why: &str| Ok(Weighed::Nothing { why: why.to_owned() });
    let model = &source.config().model;
    let Some(towers) = towers_with_choice(model) else {
        return nothing("no tower has an activation that `quick_gelu` chooses");
    };
    if source.tower() != Towers::Both {
        return nothing("the model has only one tower");
    }
    let mut other = source.config().clone();
    if other.model.set_quick_gelu(!model.quick_gelu).is_err() {
        return nothing("the config sets arguments of the activation");
    }
    let load = LoadOptions { blocks: false, ..load.clone() };
    let clip = Clip::load(source, &load)?;
    let pairs = match Pairs::of(&clip)? {
        Ok(pairs) => pairs,
        Err(why) => return Ok(Weighed::Nothing { why }),
    };
    let features = pairs.features(&clip)?;
    // Only one model is in memory at a time.
    drop(clip);
    let options = SourceOptions {
        model: Some(ModelChoice::Config(Box::new(other))),
        selection: source.selection().clone(),
        ..SourceOptions::default()
    };
    let twin = Source::of(Arc::clone(source.checkpoint()), &options)?;
    let clip = Clip::load(&twin, &LoadOptions { towers: Some(towers), ..load })?;
    let mut others = features.clone();
    if clip.has_image_tower() {
        others.image = pairs.images(&clip)?;
    }
    if clip.has_text_tower() {
        others.text = pairs.texts(&clip)?;
    }
    let name = |quick_gelu| if quick_gelu { "QuickGELU" } else { "GELU" };
    let names = [model.quick_gelu, !model.quick_gelu].map(name);
    let evidence = ActivationEvidence::new(names, [&features.matched(), &others.matched()]);
    Ok(Weighed::Evidence(evidence))
}

/// The towers whose activation depends on `quick_gelu`; `None` if there is none.
fn towers_with_choice(model: &ModelConfig) -> Option<Towers> {
    let image = model.vision.timm.is_none() && matches!(model.vision.layers, VisionLayers::Blocks(_));
    match (image, model.text.hugging_face.is_none()) {
        (true, true) => Some(Towers::Both),
        (true, false) => Some(Towers::Image),
        (false, true) => Some(Towers::Text),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn towers_of_other_libraries_have_no_choice() {
        let check = |name: &str, expected: Option<Towers>| {
            let model = clipway_model::registry::model(name).unwrap();
            assert_eq!(towers_with_choice(&model), expected, "{name}");
        };
        check("ViT-B-32", Some(Towers::Both));
        check("RN50", Some(Towers::Text));
        check("ViT-B-16-SigLIP", Some(Towers::Text));
        check("roberta-ViT-B-32", Some(Towers::Image));
        check("nllb-clip-base-siglip", None);
    }
}
