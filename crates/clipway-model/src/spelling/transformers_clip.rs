//! transformers' `CLIPModel`: the names of [`crate::layout`]'s table in reverse, and `config.json`.

use serde_json::{Map, Value, json};

use super::transformers::{Blocks, TITLE, alone, dtype_name};
use super::transformers_preprocess::{CLIP_CLASS, processor};
use super::{SpellError, Spelled, Subject};
use crate::config::{
    AttentionalPool, ModelConfig, TextConfig, TextPool, VisionConfig, VisionLayers, VisionPool,
};
use crate::layout::hf_clip;
use crate::plan::{PlannedTensor, Towers};
use crate::problems::Problems;

/// End token that `CLIPModel` interprets as "the token with the highest id".
const HIGHEST_ID: i64 = 2;

/// Gives a model the names of `CLIPModel`, or of one of its towers alone, or says everything that it cannot express.
pub(super) fn spell(subject: &Subject<'_>) -> Result<Spelled, SpellError> {
    let Subject { config, tensors, towers, .. } = *subject;
    let mut problems = Problems::default();
    check(&config.model, towers, &mut problems);
    let processor = (towers != Towers::Text).then(|| processor(&config.preprocess(), &mut problems));
    problems.none_for(TITLE)?;

    let (needed, dropped) = subject.of_towers();
    let rooted = needed.into_iter().map(|mut planned| {
        if let Some(name) = planned.target.name.strip_prefix("text.") {
            planned.target.name = name.to_owned();
        }
        planned
    });
    let rooted: Vec<PlannedTensor> = rooted.collect();
    let document = config_json(&config.model, towers, dtype_name(tensors));
    let spelled = Spelled {
        tensors: hf_clip::NAMES.spelled_from(&rooted)?,
        dropped,
        files: vec![("config.json", format!("{document:#}\n").into_bytes())],
        ..Spelled::default()
    };
    Ok(match processor {
        Some(processor) => spelled.with_processor(processor, CLIP_CLASS),
        None => spelled,
    })
}

/// Reports everything that `CLIPModel`, or the class of a tower alone, cannot express.
fn check(model: &ModelConfig, towers: Towers, problems: &mut Problems) {
    problems.unless(model.multimodal.is_none(), "multimodal_cfg", "CLIPModel has no decoder");
    if towers == Towers::Both {
        problems.unless(model.init_logit_bias.is_none(), "init_logit_bias", "CLIPModel has no logit bias");
    }
    if towers != Towers::Text {
        check_vision(&model.vision, problems);
    }
    if towers != Towers::Image {
        check_text(&model.text, towers, problems);
    }
}

fn check_vision(vision: &VisionConfig, problems: &mut Problems) {
    if let VisionLayers::Stages(_) = vision.layers {
        let cause = "a ResNet; CLIPModel's image tower is a vision transformer";
        problems.unless(false, "vision_cfg.layers", cause);
        return;
    }
    let square = |sides: [usize; 2]| sides[0] == sides[1];
    problems.unless(square(vision.image_size), "vision_cfg.image_size", "CLIPModel's images are square");
    let cause = "CLIPModel's patches are square";
    problems.unless(vision.patch_size.is_some_and(square), "vision_cfg.patch_size", cause);
    check_plain_vision(vision, problems);
    let token = vision.pool == VisionPool::Token;
    problems.unless(token, "vision_cfg.pool_type", "CLIPModel uses the class token");
}

fn check_text(text: &TextConfig, towers: Towers, problems: &mut Problems) {
    if let Some(tower) = &text.hugging_face {
        let cause = format!("`{}`; CLIPModel's text tower is its own", tower.model_name);
        problems.unless(false, "text_cfg.hf_model_name", cause);
        return;
    }
    check_plain_text(text, problems);
    // `CLIPTextModel` has no projection.
    let projects = text.projection || towers == Towers::Text;
    problems.unless(projects, "text_cfg.proj_type", "there is always a projection");
    let fits = match text.pool {
        TextPool::Argmax => true,
        TextPool::Eos => text.eos_id != HIGHEST_ID,
        TextPool::First | TextPool::Last | TextPool::Mean | TextPool::Query | TextPool::None => false,
    };
    let cause =
        "CLIPModel uses the token with the highest id, or the first one with an end token id other than 2";
    problems.unless(fits, "text_cfg.pool_type", cause);
}

/// Reports what a plain vision transformer does not have.
pub(super) fn check_plain_vision(vision: &VisionConfig, problems: &mut Problems) {
    problems.unless(
        !vision.no_ln_pre,
        "vision_cfg.no_ln_pre",
        "there is always a layer norm before the blocks",
    );
    problems.unless(vision.layer_scale.is_none(), "vision_cfg.ls_init_value", "there are no layer scales");
    let plain = vision.attentional_pool == AttentionalPool::None;
    problems.unless(plain, "vision_cfg.attentional_pool", "there is no attentional pooling");
    problems.unless(!vision.block.any_option(), "vision_cfg.block_type", "the blocks have no options");
    let full = vision.norm.bias && vision.norm.affine;
    problems.unless(full, "vision_cfg.norm_kwargs", "every layer norm has a scale and a shift");
}

/// Reports what a plain causal text transformer does not have.
pub(super) fn check_plain_text(text: &TextConfig, problems: &mut Problems) {
    problems.unless(!text.embed_cls, "text_cfg.embed_cls", "texts have no class token");
    problems.unless(!text.no_causal_mask, "text_cfg.no_causal_mask", "attention is causal");
    check_plain_text_blocks(text, problems);
    problems.unless(!text.projection_bias, "text_cfg.proj_bias", "the projection has no bias");
}

/// Reports what the blocks of a plain text transformer do not have.
pub(super) fn check_plain_text_blocks(text: &TextConfig, problems: &mut Problems) {
    problems.unless(text.layer_scale.is_none(), "text_cfg.ls_init_value", "there are no layer scales");
    problems.unless(!text.block.any_option(), "text_cfg.block_type", "the blocks have no options");
    problems.unless(text.rep_mixer.is_none(), "text_cfg.rep_mixer_cfg", "the blocks have no convolutions");
    problems.unless(text.modern.is_none(), "text_cfg.text_arch", "modern; the text tower is CLIP's");
    let full = text.norm.bias && text.norm.affine;
    problems.unless(full, "text_cfg.norm_kwargs", "every layer norm has a scale and a shift");
}

/// The `config.json`: of both towers, or of one alone.
fn config_json(model: &ModelConfig, towers: Towers, dtype: &str) -> Value {
    let (vision, text) = (vision_json(model), text_json(model));
    match towers {
        Towers::Both => json!({
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": model.embed_dim,
            "logit_scale_init_value": model.init_logit_scale,
            "text_config": text,
            "vision_config": vision,
            "dtype": dtype,
        }),
        Towers::Image => alone(vision, "CLIPVisionModelWithProjection", dtype),
        Towers::Text if model.text.projection => alone(text, "CLIPTextModelWithProjection", dtype),
        Towers::Text => alone(text, "CLIPTextModel", dtype),
    }
}

/// Name of an activation.
fn activation(model: &ModelConfig, tanh: Option<bool>) -> &'static str {
    match (model.quick_gelu, tanh) {
        (true, _) => "quick_gelu",
        (false, Some(true)) => "gelu_pytorch_tanh",
        (false, _) => "gelu",
    }
}

fn vision_json(model: &ModelConfig) -> Map<String, Value> {
    let vision = &model.vision;
    let blocks = Blocks {
        width: vision.width,
        mlp_width: vision.mlp_width(),
        layers: if let VisionLayers::Blocks(layers) = vision.layers { layers } else { 0 },
        heads: vision.width / vision.head_width,
        activation: activation(model, vision.activation.tanh),
        epsilon: vision.norm.epsilon,
    };
    let patch = vision.patch_size.map_or(0, |patch| patch[0]);
    let mut config = blocks.vision_config("clip_vision_model", vision.image_size[0], patch);
    config.insert("projection_dim".into(), json!(model.embed_dim));
    config
}

fn text_json(model: &ModelConfig) -> Map<String, Value> {
    let text = &model.text;
    let blocks = Blocks {
        width: text.width,
        mlp_width: text.mlp_width(),
        layers: text.layers,
        heads: text.heads,
        activation: activation(model, text.activation.tanh),
        epsilon: text.norm.epsilon,
    };
    let mut config = blocks.text_config("clip_text_model", text.vocab_size, text.context_length);
    config.insert("projection_dim".into(), json!(model.embed_dim));
    let end = if text.pool == TextPool::Eos { text.eos_id } else { HIGHEST_ID };
    config.insert("eos_token_id".into(), json!(end));
    config
}
