//! transformers' `SiglipModel`: the layout's name table in reverse, and `config.json`.

use serde_json::{Map, Value, json};

use super::transformers::{Blocks, TITLE, alone, dtype_name};
use super::transformers_clip::check_plain_text_blocks;
use super::transformers_preprocess::{processor, siglip_class};
use super::{SpellError, Spelled, Subject};
use crate::architecture::siglip::{SiglipVariant, siglip_variant_of};
use crate::config::{ModelConfig, TextConfig, TextPool, TimmProjection, VisionConfig};
use crate::layout::{hf_siglip, naflex};
use crate::plan::Towers;
use crate::problems::Problems;

/// Gives a model the names of `SiglipModel`, or of one of its towers alone, or says everything that it cannot express.
pub(super) fn spell(subject: &Subject<'_>) -> Result<Spelled, SpellError> {
    let Subject { config, tensors, towers, .. } = *subject;
    let mut problems = Problems::default();
    let vision = check(&config.model, towers, &mut problems);
    let processor = (towers != Towers::Text).then(|| processor(&config.preprocess(), &mut problems));
    problems.none_for(TITLE)?;

    let document = config_json(&config.model, vision.as_ref(), towers, dtype_name(tensors));
    let (needed, dropped) = subject.of_towers();
    let needed = match vision.as_ref().filter(|vision| vision.naflex) {
        Some(vision) => {
            naflex::folded(&needed, config.model.vision.image_size.map(|side| side / vision.patch))?
        }
        None => needed,
    };
    let spelled = Spelled {
        tensors: hf_siglip::NAMES.spelled_from(&needed)?,
        dropped,
        files: vec![("config.json", format!("{document:#}\n").into_bytes())],
        ..Spelled::default()
    };
    Ok(match processor {
        Some(processor) => {
            let class = siglip_class(&processor);
            spelled.with_processor(processor, class)
        }
        None => spelled,
    })
}

/// Reports everything that `SiglipModel`, or the class of a tower alone, cannot express; otherwise returns the image
/// tower, if it is written.
fn check(model: &ModelConfig, towers: Towers, problems: &mut Problems) -> Option<SiglipVariant> {
    problems.unless(model.multimodal.is_none(), "multimodal_cfg", "SiglipModel has no decoder");
    if towers == Towers::Both {
        let has_bias = model.init_logit_bias.is_some();
        problems.unless(has_bias, "init_logit_bias", "missing; SiglipModel has a logit bias");
    }
    if towers != Towers::Image {
        match &model.text.hugging_face {
            Some(tower) => {
                let cause = format!("`{}`; SiglipModel's text tower is its own", tower.model_name);
                problems.unless(false, "text_cfg.hf_model_name", cause);
            }
            None => check_text(&model.text, model, problems),
        }
    }
    if towers == Towers::Text { None } else { check_vision(&model.vision, problems) }
}

fn check_vision(vision: &VisionConfig, problems: &mut Problems) -> Option<SiglipVariant> {
    let timm = vision.timm.as_ref()?;
    let variant = siglip_variant_of(timm);
    let cause = format!(
        "`{}`; SiglipModel's image tower is timm's `vit_…_siglip_…` or `naflexvit_…_siglip`",
        timm.model_name
    );
    problems.unless(variant.is_some(), "vision_cfg.timm_model_name", cause);
    let pools = timm.pool.as_deref() == Some("map") && timm.projection == TimmProjection::None;
    problems.unless(pools, "vision_cfg.timm_pool", "SiglipModel pools by `map`, without a projection");
    let square = |sides: [usize; 2]| sides[0] == sides[1];
    problems.unless(square(vision.image_size), "vision_cfg.image_size", "SiglipModel's images are square");
    if let Some(SiglipVariant { image: [height, width], naflex: false, .. }) = variant {
        let cause = format!(
            "the positions are stored for {height}x{width} images, and SiglipModel accepts no others"
        );
        problems.unless(vision.image_size == [height, width], "vision_cfg.image_size", cause);
    }
    variant
}

fn check_text(text: &TextConfig, model: &ModelConfig, problems: &mut Problems) {
    problems.unless(!model.quick_gelu, "quick_gelu", "true; SigLIP uses GELU");
    problems.unless(!text.embed_cls, "text_cfg.embed_cls", "texts have no class token");
    problems.unless(
        text.no_causal_mask,
        "text_cfg.no_causal_mask",
        "false; SiglipModel's attention sees all tokens",
    );
    check_plain_text_blocks(text, problems);
    let projects = text.projection && text.projection_bias;
    problems.unless(projects, "text_cfg.proj_bias", "false; SiglipModel's projection has a bias");
    problems.unless(text.pool == TextPool::Last, "text_cfg.pool_type", "SiglipModel uses the last token");
}

/// The `config.json`: of both towers, or of one alone.
fn config_json(model: &ModelConfig, vision: Option<&SiglipVariant>, towers: Towers, dtype: &str) -> Value {
    let (text, vision) =
        (text_json(model), vision.map(|vision| vision_json(model, vision)).unwrap_or_default());
    match towers {
        Towers::Both => json!({
            "architectures": ["SiglipModel"],
            "model_type": "siglip",
            "text_config": text,
            "vision_config": vision,
            "dtype": dtype,
        }),
        Towers::Image => alone(vision, "SiglipVisionModel", dtype),
        Towers::Text => alone(text, "SiglipTextModel", dtype),
    }
}

/// Name of an activation.
fn activation(tanh: bool) -> &'static str {
    if tanh { "gelu_pytorch_tanh" } else { "gelu" }
}

fn text_json(model: &ModelConfig) -> Map<String, Value> {
    let text = &model.text;
    let blocks = Blocks {
        width: text.width,
        mlp_width: text.mlp_width(),
        layers: text.layers,
        heads: text.heads,
        activation: activation(text.activation.tanh == Some(true)),
        epsilon: text.norm.epsilon,
    };
    let mut config = blocks.text_config("siglip_text_model", text.vocab_size, text.context_length);
    config.insert("projection_size".into(), json!(model.embed_dim));
    config
}

fn vision_json(model: &ModelConfig, vision: &SiglipVariant) -> Map<String, Value> {
    let blocks = Blocks {
        width: vision.width,
        mlp_width: vision.hidden,
        layers: vision.depth,
        heads: vision.heads,
        activation: activation(vision.tanh),
        epsilon: vision.epsilon,
    };
    blocks.vision_config("siglip_vision_model", model.vision.image_size[0], vision.patch)
}
