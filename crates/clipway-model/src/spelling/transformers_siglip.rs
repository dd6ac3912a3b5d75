//! transformers' `SiglipModel`: the layout's name table in reverse, and `config.json`.

use serde_json::{Value, json};

use super::transformers::{TITLE, dtype_name};
use super::transformers_clip::check_plain_text_blocks;
use super::transformers_preprocess::{processor, processor_config, siglip_class};
use super::{SpellError, Spelled};
use crate::architecture::siglip::{SiglipVariant, siglip_variant_of};
use crate::config::{ConfigFile, ModelConfig, PixelRule, TextConfig, TextPool, TimmProjection};
use crate::layout::hf_siglip;
use crate::plan::PlannedTensor;
use crate::problems::Problems;

/// Gives a model the names of `SiglipModel`, or says everything that it cannot express.
pub(super) fn spell(config: &ConfigFile, tensors: &[PlannedTensor]) -> Result<Spelled, SpellError> {
    let mut problems = Problems::default();
    let vision = check(&config.model, &mut problems);
    let processor = processor(&config.preprocess(), &mut problems);
    problems.none_for(TITLE)?;
    let Some(vision) = vision else { return Ok(Spelled::default()) };

    let dtype = tensors.iter().map(|planned| planned.target.dtype).find(|dtype| dtype.is_float());
    let document = config_json(&config.model, &vision, dtype.map_or("float32", dtype_name));
    Ok(Spelled {
        tensors: hf_siglip::NAMES.spelled_from(tensors)?,
        files: vec![
            ("config.json", format!("{document:#}\n").into_bytes()),
            (
                "preprocessor_config.json",
                format!("{:#}\n", processor_config(&processor, siglip_class(&processor))).into_bytes(),
            ),
        ],
        rule: PixelRule::Transformers(processor),
        notes: Vec::new(),
    })
}

/// Reports everything that `SiglipModel` cannot express; otherwise returns the image tower.
fn check(model: &ModelConfig, problems: &mut Problems) -> Option<SiglipVariant> {
    let (vision, text) = (&model.vision, &model.text);
    problems.unless(model.multimodal.is_none(), "multimodal_cfg", "SiglipModel has no decoder");
    let has_bias = model.init_logit_bias.is_some();
    problems.unless(has_bias, "init_logit_bias", "missing; SiglipModel has a logit bias");
    let timm = vision.timm.as_ref()?;
    let variant = siglip_variant_of(timm);
    let cause = format!("`{}`; SiglipModel's image tower is timm's `vit_…_siglip_…`", timm.model_name);
    problems.unless(variant.is_some(), "vision_cfg.timm_model_name", cause);
    let pools = timm.pool.as_deref() == Some("map") && timm.projection == TimmProjection::None;
    problems.unless(pools, "vision_cfg.timm_pool", "SiglipModel pools by `map`, without a projection");
    let square = |sides: [usize; 2]| sides[0] == sides[1];
    problems.unless(square(vision.image_size), "vision_cfg.image_size", "SiglipModel's images are square");
    if let Some(SiglipVariant { image: [height, width], .. }) = variant {
        let cause = format!(
            "the positions are stored for {height}x{width} images, and SiglipModel accepts no others"
        );
        problems.unless(vision.image_size == [height, width], "vision_cfg.image_size", cause);
    }
    if let Some(tower) = &text.hugging_face {
        let cause = format!("`{}`; SiglipModel's text tower is its own", tower.model_name);
        problems.unless(false, "text_cfg.hf_model_name", cause);
        return variant;
    }
    check_text(text, model, problems);
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

/// The `config.json`.
fn config_json(model: &ModelConfig, vision: &SiglipVariant, dtype: &str) -> Value {
    let text = &model.text;
    let activation = |tanh: bool| if tanh { "gelu_pytorch_tanh" } else { "gelu" };
    json!({
        "architectures": ["SiglipModel"],
        "model_type": "siglip",
        "text_config": {
            "model_type": "siglip_text_model",
            "vocab_size": text.vocab_size,
            "max_position_embeddings": text.context_length,
            "hidden_size": text.width,
            "intermediate_size": text.mlp_width(),
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "hidden_act": activation(text.activation.tanh == Some(true)),
            "layer_norm_eps": text.norm.epsilon,
            "projection_size": model.embed_dim,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": vision.width,
            "intermediate_size": vision.hidden,
            "num_hidden_layers": vision.depth,
            "num_attention_heads": vision.heads,
            "num_channels": 3,
            "image_size": model.vision.image_size[0],
            "patch_size": vision.patch,
            "hidden_act": activation(vision.tanh),
            "layer_norm_eps": vision.epsilon,
        },
        "dtype": dtype,
    })
}
