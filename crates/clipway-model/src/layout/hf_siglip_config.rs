//! The config of transformers' `SiglipModel`, read from its `config.json`.

use clipway_formats::TensorInfo;

use super::hf_config::{
    Activation, CONFIG, Defaults, Document, ImageSizes, Shapes, Tower, has_tokenizer, origins, text_sizes,
};
use super::siglip_config::{SiglipShape, SiglipTower};
use super::{Contradictions, KnownConfig, LayoutError, hf_preprocessor, hf_processor_class};
use crate::checkpoint::Checkpoint;
use crate::config::ConfigFile;
use crate::contract::Origins;
use crate::problems::Problems;
use crate::state_dict::StateDict;

/// Reads the `config.json` beside the weights and compares every number with their shapes.
pub(super) fn known_config(
    checkpoint: &Checkpoint,
    state_dict: &StateDict,
    converted: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let document = Document::open(checkpoint)?;
    let mut problems = Problems::default();
    let (shape, mut origins) = shape(&document, state_dict, checkpoint, &mut problems);
    let mut found = Contradictions::default();
    found.add(CONFIG, problems);
    let (model, name, mut notes) = match shape.config(converted) {
        Ok(told) => told,
        Err(cause) => return Err(found.or(LayoutError::Malformed { file: CONFIG, cause })),
    };
    let class = &hf_processor_class::SIGLIP;
    let preprocessing = match hf_preprocessor::read(checkpoint, model.vision.image_size, class, &mut found) {
        Ok(read) => read,
        Err(error) => return Err(found.or(error)),
    };
    notes.extend(preprocessing.notes);
    origins.merge(preprocessing.origins);
    found.none(KnownConfig {
        config: ConfigFile { model, preprocess: preprocessing.options },
        name,
        from: format!("`{CONFIG}` of transformers beside the weights"),
        origins,
        activation_from: format!("`hidden_act` of `{CONFIG}`"),
        disagreements: preprocessing.disagreements,
        notes,
    })
}

fn shape(
    document: &Document,
    state_dict: &StateDict,
    checkpoint: &Checkpoint,
    problems: &mut Problems,
) -> (SiglipShape, Origins) {
    let weights = Shapes { state_dict };
    let root = document.root("siglip", problems);
    let [vision_section, text_section] = Document::towers(&root, problems);
    let defaults =
        || Defaults { sizes: [768, 3072, 12, 12], activation: Activation::TanhGelu, epsilon: 1e-6 };
    let vision = Tower::read(&vision_section, defaults(), problems);
    let text = Tower::read(&text_section, defaults(), problems);
    let ImageSizes { image, patch } = ImageSizes::read(&vision_section, 16, 0, &weights, problems);
    let [context, vocabulary] = text_sizes(&text_section, [64, 32000], &weights, problems);
    let embed_dim =
        text_section.integer("projection_size", text.width, 1..=crate::config::limits::WIDTH, problems);
    problems.compare(
        &text_section,
        "projection_size",
        embed_dim,
        weights.length("text_model.head.weight", 0),
    );
    if embed_dim != vision.width {
        let cause = format!("{embed_dim}, but image vectors have width {}", vision.width);
        problems.add(&text_section, "projection_size", cause);
    }
    if !vision_section.boolean("vision_use_head", true, problems) {
        problems.add(&vision_section, "vision_use_head", "false; without the head there is no image vector");
    }
    for (section, tower) in [(&vision_section, &vision), (&text_section, &text)] {
        if tower.activation == Activation::QuickGelu {
            problems.add(section, "hidden_act", "`quick_gelu`, which no SigLIP model in open_clip uses");
        }
    }
    let embedding = weights.length("vision_model.embeddings.patch_embedding.weight", 0);
    vision.compare(&vision_section, "vision_model", embedding, &weights, problems);
    let tokens = weights.length("text_model.embeddings.token_embedding.weight", 1);
    text.compare(&text_section, "text_model", tokens, &weights, problems);
    let of = |tower: &Tower| SiglipTower {
        width: tower.width,
        layers: tower.layers,
        heads: tower.heads,
        mlp_width: tower.mlp_width,
        tanh: Some(tower.activation == Activation::TanhGelu),
        epsilon: tower.epsilon,
    };
    let shape = SiglipShape {
        image_size: image,
        patch_size: patch,
        vision: of(&vision),
        text: of(&text),
        context_length: context,
        vocabulary,
        has_tokenizer: has_tokenizer(checkpoint),
        cleans_texts: has_tokenizer(checkpoint),
    };
    (shape, origins([&vision_section, &text_section], &[]))
}
