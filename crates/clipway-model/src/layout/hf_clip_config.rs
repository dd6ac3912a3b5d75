//! The config of transformers' `CLIPModel`, read from its `config.json`.

use clipway_formats::TensorInfo;
use serde_json::{Value, json};

use super::hf_config::{
    Activation, CONFIG, Defaults, Document, ImageSizes, OWN_TOKENIZER, Shapes, Tower, has_tokenizer, origins,
    sides, text_sizes,
};
use super::{Contradictions, KnownConfig, LayoutError, hf_preprocessor, hf_processor_class};
use crate::checkpoint::Checkpoint;
use crate::config::{ConfigFile, ModelConfig, limits};
use crate::contract::{Field, Origins};
use crate::problems::Problems;
use crate::state_dict::StateDict;

/// Rows of the token embedding for CLIP's own vocabulary.
const CLIP_VOCABULARY: usize = 49408;

/// The end token that transformers interprets as "the highest id", in configs older than its fix of that key.
const LEGACY_END: usize = 2;

/// Reads the `config.json` beside the weights and compares every number with their shapes.
pub(super) fn known_config(
    checkpoint: &Checkpoint,
    state_dict: &StateDict,
    _: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let document = Document::open(checkpoint)?;
    let mut problems = Problems::default();
    let (model, image_size, mut origins) = model(&document, state_dict, checkpoint, &mut problems);
    let mut found = Contradictions::default();
    found.add(CONFIG, problems);
    let read = hf_preprocessor::read(checkpoint, image_size, &hf_processor_class::CLIP, &mut found);
    let malformed = |cause| LayoutError::Malformed { file: CONFIG, cause };
    let parsed = ModelConfig::parse(model.to_string().as_bytes()).map_err(malformed);
    let (model, preprocessing) = match (parsed, read) {
        (Ok(model), Ok(read)) => (model, read),
        (Err(error), _) | (_, Err(error)) => return Err(found.or(error)),
    };
    origins.merge(preprocessing.origins);
    found.none(KnownConfig {
        config: ConfigFile { model, preprocess: preprocessing.options },
        name: None,
        from: format!("`{CONFIG}` of transformers beside the weights"),
        origins,
        activation_from: format!("`hidden_act` of `{CONFIG}`"),
        disagreements: preprocessing.disagreements,
        notes: preprocessing.notes,
    })
}

/// open_clip's model config, height and width of the images, and the origins of fields.
fn model(
    document: &Document,
    state_dict: &StateDict,
    checkpoint: &Checkpoint,
    problems: &mut Problems,
) -> (Value, [usize; 2], Origins) {
    let weights = Shapes { state_dict };
    let root = document.root("clip", problems);
    let [vision_section, text_section] = Document::towers(&root, problems);
    let embed_dim = root.integer("projection_dim", 512, 1..=limits::WIDTH, problems);
    let defaults = |sizes| Defaults { sizes, activation: Activation::QuickGelu, epsilon: 1e-5 };
    let vision = Tower::read(&vision_section, defaults([768, 3072, 12, 12]), problems);
    let text = Tower::read(&text_section, defaults([512, 2048, 12, 8]), problems);
    let end = text_section.integer("eos_token_id", 49407, 0..=limits::VOCABULARY, problems);
    let quick = [&vision, &text].map(|tower| tower.activation == Activation::QuickGelu);
    if quick[0] != quick[1] {
        let cause = "only one tower uses `quick_gelu`, which no open_clip config can express";
        problems.add(&root, "*.hidden_act", cause);
    }
    let ImageSizes { image, patch } = ImageSizes::read(&vision_section, 32, 1, &weights, problems);
    for projection in ["visual_projection.weight", "text_projection.weight"] {
        problems.compare(&root, "projection_dim", embed_dim, weights.length(projection, 0));
    }
    let [context, vocabulary] = text_sizes(&text_section, [77, CLIP_VOCABULARY], &weights, problems);
    let class = weights.length("vision_model.embeddings.class_embedding", 0);
    vision.compare(&vision_section, "vision_model", class, &weights, problems);
    let tokens = weights.length("text_model.embeddings.token_embedding.weight", 1);
    text.compare(&text_section, "text_model", tokens, &weights, problems);

    let mut vision_config = vision.config();
    vision_config.insert("image_size".into(), sides(image));
    vision_config.insert("patch_size".into(), sides(patch));
    vision_config.insert("head_width".into(), json!(vision.width / vision.heads));
    let mut text_config = text.config();
    text_config.insert("context_length".into(), json!(context));
    text_config.insert("vocab_size".into(), json!(vocabulary));
    text_config.insert("heads".into(), json!(text.heads));
    if end != LEGACY_END {
        text_config.insert("pool_type".into(), json!("eos"));
        text_config.insert("eos_id".into(), json!(end));
    }
    if vocabulary != CLIP_VOCABULARY || has_tokenizer(checkpoint) {
        text_config.insert("hf_tokenizer_name".into(), json!(OWN_TOKENIZER));
    }
    let config = json!({
        "embed_dim": embed_dim,
        "quick_gelu": quick[0],
        "vision_cfg": vision_config,
        "text_cfg": text_config,
    });
    let end =
        [(Field::Pooling, "text_config", "eos_token_id"), (Field::EndToken, "text_config", "eos_token_id")];
    (config, image, origins([&vision_section, &text_section], &end))
}
