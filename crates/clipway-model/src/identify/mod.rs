//! Which model a state dict is of, from names and shapes alone.
//!
//! A few key shapes make a sketch; only the registry's configs that agree with it are built and compared with all
//! names and shapes. Where none fits but the towers are open_clip's own, the config is reconstructed from shapes.

mod differences;
mod reconstruct;
mod sketch;

pub use differences::{Differences, Mismatch, Unmatched};
pub use reconstruct::{Assumption, Reconstruction};
pub(crate) use reconstruct::{mlp_ratio, reconstruct_openai};

use crate::architecture::{self, Model};
use crate::config::{ModelConfig, VisionLayers};
use crate::registry;

use sketch::{Shapes, Sketch, VisionSketch};

/// What names and shapes say.
#[derive(Clone, Debug, PartialEq)]
pub struct Identification {
    /// Registry names whose names and shapes all fit. Shapes cannot tell these apart: they differ in activation,
    /// heads, pooling or the like.
    pub exact: Vec<Fit>,
    /// Where none fits exactly: registry names that fit but for the size of positional embeddings.
    pub near: Vec<NearFit>,
    /// Where none fits exactly: the config that the shapes give, if both towers are open_clip's own.
    pub reconstruction: Option<Box<Reconstruction>>,
    /// Parts of families that are known but not supported.
    pub unsupported: Vec<&'static str>,
}

/// A registry name that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The name.
    pub name: &'static str,
    /// Whether the text tower's tensors have to be moved under `text.`, or out of it, to fit.
    pub move_text: bool,
}

/// A registry name that fits at another size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearFit {
    /// The name.
    pub name: &'static str,
    /// The image size of the tensors, in pixels, where it is not the config's.
    pub image_size: Option<[usize; 2]>,
    /// The context length of the tensors, where it is not the config's.
    pub context_length: Option<usize>,
    /// Whether the text tower's tensors have to be moved under `text.`, or out of it, to fit.
    pub move_text: bool,
}

/// Parts of families that are known but not supported.
fn unsupported(shapes: &Shapes<'_>) -> Vec<&'static str> {
    let hugging_face =
        shapes.has_prefix("text.transformer.") && !shapes.has_prefix("text.transformer.resblocks.");
    let parts = [
        (shapes.has_prefix("visual.trunk."), "a timm image tower"),
        (hugging_face, "a Hugging Face text tower"),
        (shapes.has_prefix("text_decoder."), "CoCa's multimodal decoder"),
    ];
    parts.into_iter().filter(|(there, _)| *there).map(|(_, part)| part).collect()
}

/// Finds the models that a state dict in open_clip's names can be of.
pub fn identify<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Identification {
    let tensors: Vec<(&str, &[usize])> = tensors.into_iter().collect();
    let shapes = Shapes::new(&tensors);
    let unsupported = unsupported(&shapes);
    let sketch = Sketch::of(&shapes);
    let mut identification =
        Identification { exact: vec![], near: vec![], reconstruction: None, unsupported };
    for name in registry::names() {
        let Ok(config) = registry::model(name) else { continue };
        if agrees(&config, &sketch) {
            match compare(name, config, &sketch, &tensors) {
                Some(Compared::Exact(fit)) => identification.exact.push(fit),
                Some(Compared::Near(fit)) => identification.near.push(fit),
                None => {}
            }
        }
    }
    identification.exact.sort_by_key(|fit| fit.move_text);
    identification.near.sort_by_key(|fit| fit.move_text);
    if identification.exact.iter().any(|fit| !fit.move_text) {
        identification.near.clear();
    } else if identification.unsupported.is_empty() {
        identification.reconstruction = reconstruct::reconstruct(&sketch, &shapes, &tensors).map(Box::new);
    }
    identification
}

/// Whether a config has the sizes of a sketch, but for positions.
fn agrees(config: &ModelConfig, sketch: &Sketch) -> bool {
    let (Some(vision), Some(text)) = (sketch.vision, sketch.text) else { return false };
    let ours = &config.vision;
    let own_towers = ours.timm.is_none() && config.text.hugging_face.is_none() && config.multimodal.is_none();
    let vision_agrees = match vision {
        VisionSketch::Transformer { embed_dim, width, layers, patch, mlp_width, .. } => {
            ours.layers == VisionLayers::Blocks(layers)
                && ours.patch_size == Some(patch)
                && [config.embed_dim, ours.width] == [embed_dim, width]
                && (ours.width as f64 * ours.mlp_ratio) as usize == mlp_width
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
        && (ours.width as f64 * ours.mlp_ratio) as usize == text.mlp_width
}

enum Compared {
    Exact(Fit),
    Near(NearFit),
}

/// Compares all names and shapes with those of a config, at the sizes that the tensors have.
fn compare(
    name: &'static str,
    mut config: ModelConfig,
    sketch: &Sketch,
    tensors: &[(&str, &[usize])],
) -> Option<Compared> {
    let move_text = config.uses_custom_text() != sketch.custom_text;
    config.set_custom_text(sketch.custom_text).ok()?;
    let (image_size, context_length) = reconstruct::sizes(sketch, config.text.embed_cls)?;
    let image_size = (tokens_of(&config)? != sketch.image_tokens()?).then_some(image_size);
    let context_length = (config.text.context_length != context_length).then_some(context_length);
    if let Some(size) = image_size {
        config.set_image_size(size?).ok()?;
    }
    if let Some(length) = context_length {
        config.set_context_length(length).ok()?;
    }
    let model: Model = architecture::build(&config).ok()?;
    if !Differences::between(&model.parameters, tensors.iter().copied()).is_empty() {
        return None;
    }
    Some(match (image_size, context_length) {
        (None, None) => Compared::Exact(Fit { name, move_text }),
        _ => Compared::Near(NearFit { name, image_size: image_size.flatten(), context_length, move_text }),
    })
}

/// Rows of the positional embedding of a config's image tower.
fn tokens_of(config: &ModelConfig) -> Option<usize> {
    let [height, width] = config.vision.image_size;
    let [patch_height, patch_width] = match config.vision.layers {
        VisionLayers::Blocks(_) => config.vision.patch_size?,
        VisionLayers::Stages(_) => [32, 32],
    };
    Some((height / patch_height) * (width / patch_width) + 1)
}
