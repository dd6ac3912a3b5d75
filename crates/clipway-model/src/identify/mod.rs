//! Identifies the model of a state dict from names and shapes alone.
//!
//! The total number of elements selects a few registered configs, which are built and compared by all names and shapes.
//! If none matches but the towers are open_clip's own, a few key shapes make a sketch: configs that agree with it
//! except for the size of positional embeddings are listed, otherwise the config is reconstructed. For other towers,
//! the registered models with the most tensors in common are reported.

mod forms;
mod reconstruct;
mod sketch;

pub use reconstruct::{Assumption, Reconstruction};
pub(crate) use reconstruct::{mlp_ratio, reconstruct_openai, reconstruct_vision};

use clipway_formats::TensorInfo;

use crate::architecture::{self, Model, is_folded_name};
use crate::config::{ModelConfig, VisionLayers};
use crate::differences::Differences;
use crate::registry;

use sketch::{Shapes, Sketch, VisionSketch};

/// What names and shapes show.
#[derive(Clone, Debug, PartialEq)]
pub struct Identification {
    /// Registered names that match exactly. Shapes cannot tell them apart: they differ in activation, heads, pooling or
    /// the like.
    pub exact: Vec<Fit>,
    /// If none matches exactly: registered names that match except for the size of positional embeddings.
    pub near: Vec<NearFit>,
    /// If none matches exactly: the config inferred from the shapes, if both towers are open_clip's own.
    pub reconstruction: Option<Box<Reconstruction>>,
    /// If none matches exactly and no config can be inferred: the registered names that differ least.
    pub closest: Vec<CloseFit>,
    /// Whether training branches are folded into one convolution; the names match in that form.
    pub folded: bool,
}

impl Identification {
    /// Registered names that match exactly; if some match with the tensors named as they are, only those.
    pub fn names(&self) -> Vec<&'static str> {
        let as_named = self.exact.iter().any(|fit| !fit.move_text);
        self.exact.iter().filter(|fit| !(as_named && fit.move_text)).map(|fit| fit.name).collect()
    }
}

/// A registered name that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The name.
    pub name: &'static str,
    /// Whether the text tower's tensors must move under `text.`, or out of it, to match.
    pub move_text: bool,
}

/// A registered name that matches at another size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearFit {
    /// The name.
    pub name: &'static str,
    /// The tensors' image size in pixels, if it differs from the config's.
    pub image_size: Option<[usize; 2]>,
    /// The tensors' context length, if it differs from the config's.
    pub context_length: Option<usize>,
    /// Whether the text tower's tensors must move under `text.`, or out of it, to match.
    pub move_text: bool,
}

/// A registered name that matches except for some tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFit {
    /// The name.
    pub name: &'static str,
    /// How many tensors are missing, unused or of the wrong shape.
    pub differences: usize,
}

/// Minimum share of a model's tensors that a state dict must have to count as close.
const CLOSE: f64 = 0.8;

/// Finds the models that could have a state dict with open_clip's names.
pub fn identify<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Identification {
    let tensors: Vec<(&str, &[usize])> = tensors.into_iter().collect();
    let folded = is_folded(&tensors);
    let exact = exact(&tensors);
    let mut found = Identification { exact, near: vec![], reconstruction: None, closest: vec![], folded };
    if found.exact.iter().any(|fit| !fit.move_text) {
        return found;
    }
    // The rest compares with open_clip's own towers, whose attentions store one joined tensor.
    let joined = forms::joined(&tensors);
    let tensors = joined.as_ref().map_or(tensors, forms::views);
    let shapes = Shapes::new(&tensors);
    let sketch = Sketch::of(&shapes);
    for name in registry::names() {
        let Ok(config) = registry::model(name) else { continue };
        if agrees(&config, &sketch) {
            found.near.extend(compare_resized(name, config, &sketch, &tensors));
        }
    }
    found.near.sort_by_key(|fit| fit.move_text);
    found.reconstruction = reconstruct::reconstruct(&sketch, &shapes, &tensors).map(Box::new);
    let is_whole = |reconstruction: &Reconstruction| reconstruction.differences.is_empty();
    let is_told = found.reconstruction.as_deref().is_some_and(is_whole);
    if found.exact.is_empty() && found.near.is_empty() && !is_told {
        found.closest = closest(&tensors);
        // A nearly matching registered model says more than a config inferred from what remains.
        found.reconstruction = found.reconstruction.filter(|_| found.closest.is_empty());
    }
    found
}

/// The registered models that match with the tensors named as they are.
pub(crate) fn fitting(tensors: &[TensorInfo]) -> Vec<(&'static str, ModelConfig)> {
    let tensors: Vec<(&str, &[usize])> =
        tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
    let fits = exact(&tensors).into_iter().filter(|fit| !fit.move_text);
    fits.filter_map(|fit| Some((fit.name, registry::model(fit.name).ok()?))).collect()
}

fn is_folded(tensors: &[(&str, &[usize])]) -> bool {
    tensors.iter().any(|(name, _)| is_folded_name(name))
}

/// Registered names that match exactly, first those that match with the tensors named as they are. Queries, keys and
/// values may be split or joined, and patches embedded by a linear layer; a plan converts between the forms.
fn exact(tensors: &[(&str, &[usize])]) -> Vec<Fit> {
    let fits = exact_as_stored(tensors);
    if !fits.is_empty() {
        return fits;
    }
    let others = [forms::joined(tensors), forms::split(tensors)];
    others.iter().flatten().flat_map(|form| exact_as_stored(&forms::views(form))).collect()
}

fn exact_as_stored(tensors: &[(&str, &[usize])]) -> Vec<Fit> {
    let shapes = &Shapes::new(tensors);
    let candidates: Vec<(&str, ModelConfig)> =
        if is_folded(tensors) { of_the_folded_form().collect() } else { of_the_same_size(tensors).collect() };
    let compared =
        candidates.into_iter().filter_map(|(name, config)| compare_whole(name, config, shapes, tensors));
    let mut exact: Vec<Fit> = compared.collect();
    exact.sort_by_key(|fit| fit.move_text);
    exact
}

/// Registered configs whose models have as many elements as a state dict.
fn of_the_same_size(
    tensors: &[(&str, &[usize])],
) -> impl Iterator<Item = (&'static str, ModelConfig)> + use<> {
    let elements = |shape: &[usize]| shape.iter().try_fold(1u64, |n, &side| n.checked_mul(side as u64));
    let total = tensors.iter().try_fold(0u64, |total, (_, shape)| total.checked_add(elements(shape)?));
    registry::names()
        .filter(move |name| registry::size(name).map(|size| size.elements()) == total)
        .filter_map(|name| Some((name, registry::model(name).ok()?)))
}

/// Registered configs with a timm tower, in folded form; those without one are not built.
fn of_the_folded_form() -> impl Iterator<Item = (&'static str, ModelConfig)> {
    registry::names().filter_map(|name| {
        let mut config = registry::model(name).ok().filter(|config| config.vision.timm.is_some())?;
        config.folded = true;
        Some((name, config))
    })
}

/// Compares all names and shapes with a config's.
fn compare_whole(
    name: &'static str,
    mut config: ModelConfig,
    shapes: &Shapes<'_>,
    tensors: &[(&str, &[usize])],
) -> Option<Fit> {
    let custom_text = shapes.has_prefix("text.");
    let move_text = config.uses_custom_text() != custom_text;
    if move_text {
        config.set_custom_text(custom_text).ok()?;
    }
    let model = architecture::build(&config).ok()?;
    let fits = Differences::between(&model.parameters, tensors.iter().copied()).is_empty();
    fits.then_some(Fit { name, move_text })
}

/// The registered names from which a state dict differs least. Much larger models are not built.
fn closest(tensors: &[(&str, &[usize])]) -> Vec<CloseFit> {
    let mut closest: Vec<CloseFit> = Vec::new();
    let can_be_close = |name: &&str| {
        registry::size(name).is_some_and(|size| tensors.len() as f64 >= CLOSE * size.tensors as f64)
    };
    for name in registry::names().filter(can_be_close) {
        let Some(model) = registry::model(name).ok().and_then(|config| architecture::build(&config).ok())
        else {
            continue;
        };
        let differences = Differences::between(&model.parameters, tensors.iter().copied());
        let missing = differences.missing.len() + differences.mismatched.len();
        let needed = model.parameters.len();
        if (needed - missing) as f64 >= CLOSE * needed as f64 {
            closest.push(CloseFit { name, differences: missing + differences.unused.len() });
        }
    }
    let least = closest.iter().map(|fit| fit.differences).min();
    closest.retain(|fit| Some(fit.differences) == least);
    closest
}

/// Whether a config has the sizes of a sketch, except for positions.
fn agrees(config: &ModelConfig, sketch: &Sketch) -> bool {
    let (Some(vision), Some(text)) = (sketch.vision, sketch.text) else { return false };
    let ours = &config.vision;
    let own_towers = ours.timm.is_none() && !config.uses_other_text_tower() && config.multimodal.is_none();
    let vision_agrees = match vision {
        VisionSketch::Transformer { embed_dim, width, layers, patch, mlp_width, .. } => {
            ours.layers == VisionLayers::Blocks(layers)
                && ours.patch_size == Some(patch)
                && [config.embed_dim, ours.width] == [embed_dim, width]
                && ours.mlp_width() == mlp_width
        }
        VisionSketch::ResNet { embed_dim, width, stages, .. } => {
            ours.layers == VisionLayers::Stages(stages)
                && [config.embed_dim, ours.width] == [embed_dim, width]
        }
    };
    let ours = &config.text;
    own_towers
        && vision_agrees
        && config.embed_dim == text.embed_dim
        && [ours.width, ours.layers, ours.vocab_size] == [text.width, text.layers, text.vocab_size]
        && ours.mlp_width() == text.mlp_width
}

/// Compares all names and shapes with a config's, at the tensors' sizes, at least one of which differs from the
/// config's.
fn compare_resized(
    name: &'static str,
    mut config: ModelConfig,
    sketch: &Sketch,
    tensors: &[(&str, &[usize])],
) -> Option<NearFit> {
    let move_text = config.uses_custom_text() != sketch.custom_text;
    config.set_custom_text(sketch.custom_text).ok()?;
    let (image_size, context_length) = reconstruct::sizes(sketch, config.text.embed_cls)?;
    let image_size = (tokens_of(&config)? != sketch.image_tokens()?).then_some(image_size);
    let context_length = (config.text.context_length != context_length).then_some(context_length);
    if image_size.is_none() && context_length.is_none() {
        return None;
    }
    if let Some(size) = image_size {
        config.set_image_size(size?).ok()?;
    }
    if let Some(length) = context_length {
        config.set_context_length(length).ok()?;
    }
    let model: Model = architecture::build(&config).ok()?;
    let fits = Differences::between(&model.parameters, tensors.iter().copied()).is_empty();
    fits.then(|| NearFit { name, image_size: image_size.flatten(), context_length, move_text })
}

/// Number of rows in the positional embedding of a config's image tower.
fn tokens_of(config: &ModelConfig) -> Option<usize> {
    let [height, width] = config.vision.image_size;
    let [patch_height, patch_width] = match config.vision.layers {
        VisionLayers::Blocks(_) => config.vision.patch_size?,
        VisionLayers::Stages(_) => [32, 32],
    };
    Some((height / patch_height) * (width / patch_width) + 1)
}
