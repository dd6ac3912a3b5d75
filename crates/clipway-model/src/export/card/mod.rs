//! The model card, `README.md`: what the model is, how to use it, how it was made, what its verification found.

mod front;
mod made;
mod repository;
mod usage;

pub use front::problems;
pub use repository::{CardError, Merged, completed, for_repository, merged, relicensed};
pub(super) use usage::Usage;

use std::collections::BTreeSet;
use std::fmt::Write;

use super::escape::{markdown, note};
use crate::artifact::Artifact;
use crate::config::{ConfigFile, VisionLayers};
use crate::plan::Towers;
use crate::spelling::Spelling;

/// Before and after the part of a card that clipway writes. Whatever stands outside of it is people's own.
const BEGIN: &str =
    "<!-- clipway: begin; what is written between these two lines is replaced by the next push -->\n";
const END: &str = "<!-- clipway: end -->\n";

/// Begins the last section.
const LICENSE_TITLE: &str = "\n## License\n\n";

/// Writes the card of an artifact.
pub(super) fn model_card(
    artifact: &Artifact,
    config: &ConfigFile,
    spelling: &Spelling,
    usage: Usage,
) -> String {
    let front = front::front_matter(artifact, config, spelling);
    let mut card = format!("{front}{BEGIN}# {}\n\n", markdown(title(artifact)));
    card.push_str(&description(artifact, config));
    if let Some((license, restriction)) = artifact.contract.license_restriction() {
        let _ = write!(card, "\n**The license, {}, {restriction}.**\n", markdown(&license));
    }
    for text in &artifact.notes {
        let _ = write!(card, "\n> {}\n", note(text));
    }
    card.push_str(&usage::section(artifact, spelling, usage));
    card.push_str(&properties(artifact, config));
    card.push_str(&made::section(artifact));
    card.push_str(&license(artifact));
    card.push_str(END);
    card
}

/// The name of the model: its repository's, or its architecture's.
fn title(artifact: &Artifact) -> &str {
    let repository = artifact.source.hub.as_ref().and_then(|hub| hub.repository.split_once('/'));
    repository.map(|(_, name)| name).or(artifact.model.name.as_deref()).unwrap_or("CLIP model")
}

/// What the model is, in a sentence or two.
fn description(artifact: &Artifact, config: &ConfigFile) -> String {
    let parameters = artifact.model.parameters as f64 / 1e6;
    let width = config.model.embed_dim;
    let architecture = artifact.model.name.as_deref().map(|name| format!(" (`{name}`)")).unwrap_or_default();
    let kind = if config.model.init_logit_bias.is_some() { "SigLIP" } else { "CLIP" };
    match artifact.model.towers {
        Towers::Both => format!(
            "A {kind} model{architecture} of {parameters:.1} million parameters. Its two towers turn images and texts into \
             vectors of {width} numbers; the closer two vectors are, the better image and text fit.\n"
        ),
        tower => format!(
            "The {} tower of a {kind} model{architecture}, with {parameters:.1} million parameters. It turns {}s into \
             vectors of {width} numbers.\n",
            tower.name(),
            tower.name()
        ),
    }
}

/// What decides the features, as a table.
fn properties(artifact: &Artifact, config: &ConfigFile) -> String {
    let (model, preprocess) = (&config.model, config.preprocess());
    let [height, width] = preprocess.size;
    let has = |tower| [Towers::Both, tower].contains(&artifact.model.towers);
    let mut rows = vec![
        ("Parameters", artifact.model.parameters.to_string()),
        ("Precision", precision(artifact)),
        ("Embedding width", model.embed_dim.to_string()),
        ("Activation", if model.quick_gelu { "QuickGELU" } else { "GELU" }.to_owned()),
    ];
    if has(Towers::Image) {
        let numbers = |values: [f64; 3]| values.map(|value| value.to_string()).join(", ");
        rows.extend([
            ("Image tower", image_tower(config)),
            ("Image size", format!("{height} x {width}")),
            ("Mean", numbers(preprocess.mean)),
            ("Standard deviation", numbers(preprocess.std)),
            ("Interpolation", preprocess.interpolation.name().to_owned()),
            ("Resize mode", preprocess.resize_mode.name().to_owned()),
        ]);
    }
    if has(Towers::Text) {
        rows.extend([
            ("Text tower", text_tower(config)),
            ("Context length", format!("{} tokens", model.text.context_length)),
            ("Vocabulary", format!("{} tokens", model.text.vocab_size)),
        ]);
    }
    if model.folded {
        rows.push(("Branches of the image tower", "folded for inference".to_owned()));
    }
    let mut text = "\n## Properties\n\n| | |\n| --- | --- |\n".to_owned();
    rows.iter().for_each(|(key, value)| _ = writeln!(text, "| {key} | {value} |"));
    text
}

/// Dtypes of the floating-point weights.
fn precision(artifact: &Artifact) -> String {
    match artifact.model.precision {
        Some(precision) => precision.name().to_owned(),
        None => {
            let dtypes: BTreeSet<&str> =
                artifact.tensors.values().map(|tensor| tensor.dtype.as_str()).collect();
            let floats = dtypes.iter().filter(|dtype| !dtype.starts_with(['I', 'U']) || **dtype == "I8");
            let names = floats.copied().collect::<Vec<_>>().join(", ");
            if names.is_empty() { "as in the source".to_owned() } else { markdown(&names) }
        }
    }
}

fn image_tower(config: &ConfigFile) -> String {
    let vision = &config.model.vision;
    match (&vision.timm, vision.layers, vision.patch_size) {
        (Some(timm), ..) => format!("timm's `{}`", clipway_formats::shown(&timm.model_name)),
        (None, VisionLayers::Blocks(layers), Some([height, width])) => format!(
            "vision transformer, {} of width {}, patches of {height} x {width} pixels",
            counted(layers),
            vision.width
        ),
        (None, VisionLayers::Blocks(layers), None) => {
            format!("vision transformer, {} of width {}", counted(layers), vision.width)
        }
        (None, VisionLayers::Stages(stages), _) => {
            format!("ResNet with stages of {} bottlenecks", stages.map(|stage| stage.to_string()).join(", "))
        }
    }
}

fn text_tower(config: &ConfigFile) -> String {
    let text = &config.model.text;
    match &text.hugging_face {
        Some(tower) => format!("`{}` of transformers", clipway_formats::shown(&tower.model_name)),
        None => format!("transformer, {} of width {}", counted(text.layers), text.width),
    }
}

fn counted(layers: usize) -> String {
    format!("{layers} layer{}", if layers == 1 { "" } else { "s" })
}

/// The license, and who states it.
fn license(artifact: &Artifact) -> String {
    let Some((license, terms)) = artifact.contract.license_and_terms() else { return String::new() };
    let mut text = format!("{LICENSE_TITLE}{}", markdown(&license.value));
    if let Some(name) = terms.name.filter(|name| *name != license.value) {
        let _ = write!(text, ", {}", markdown(&name));
    }
    if let Some(link) = terms.link {
        let _ = write!(text, ", at {}", markdown(&link));
    }
    let _ = write!(text, " ({}).", note(&license.from.to_string()));
    if let Some((_, restriction)) = artifact.contract.license_restriction() {
        let _ = write!(text, " It {restriction}.");
    }
    text + "\n"
}

#[cfg(test)]
mod tests;
