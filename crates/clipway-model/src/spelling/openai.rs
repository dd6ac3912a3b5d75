//! A state dict that OpenAI's own code loads: open_clip's names, plus three numbers, and no options.

use clipway_formats::Dtype;

use super::{SpellError, Spelled, Spelling, StoredWeights, WeightsFormat};
use crate::config::{
    ConfigFile, Interpolation, ModelConfig, PreprocessConfig, ResizeMode, TextPool, TokenizerConfig,
    VisionLayers, VisionPool,
};
use crate::contract::Clean;
use crate::layout::OWN_TOKENIZER;
use crate::plan::{PlannedTensor, Step};
use crate::problems::Problems;

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: "openai",
    title: TITLE,
    weights: StoredWeights::StateDict(&[(WeightsFormat::Pytorch, ["model", "pt"])]),
    spell: |subject| {
        subject.both_towers(TITLE)?;
        spell(subject.config, subject.tensors)
    },
    is_open_clip: false,
    library: "open_clip",
    usage: "import open_clip\n\n\
            model = open_clip.load_openai_model('PATH/TO/THIS/FOLDER/model.pt', precision='fp32')\n",
};

const TITLE: &str = "OpenAI's code";

/// Rows of the token embedding for CLIP's own vocabulary.
const CLIP_VOCABULARY: usize = 49408;

/// Head width in OpenAI's code.
const HEAD_WIDTH: usize = 64;

fn spell(config: &ConfigFile, tensors: &[PlannedTensor]) -> Result<Spelled, SpellError> {
    let ConfigFile { model, .. } = config;
    let mut problems = Problems::default();
    check_model(model, &mut problems);
    check_preprocessing(&config.preprocess(), &mut problems);
    problems.none_for(TITLE)?;

    let mut tensors = tensors.to_vec();
    for planned in &mut tensors {
        if let Some(name) = planned.target.name.strip_prefix("text.") {
            planned.target.name = name.to_owned();
        }
        if planned.target.name == "logit_scale" && !planned.target.shape.is_empty() {
            planned.then(Step::Reshape { shape: Vec::new() })?;
        }
    }
    let numbers = [
        ("input_resolution", model.vision.image_size[0]),
        ("context_length", model.text.context_length),
        ("vocab_size", model.text.vocab_size),
    ];
    for (name, number) in numbers {
        tensors.push(PlannedTensor::filled(name.to_owned(), number as i64, Dtype::I64, &[])?);
    }
    let notes = vec![
        "the names follow OpenAI's code, which `clip.load` and `open_clip.load_openai_model` read".to_owned(),
    ];
    Ok(Spelled { tensors, notes, ..Spelled::default() })
}

fn check_model(model: &ModelConfig, problems: &mut Problems) {
    let (vision, text) = (&model.vision, &model.text);
    problems.unless(model.multimodal.is_none(), "multimodal_cfg", "there is no decoder");
    problems.unless(model.quick_gelu, "quick_gelu", "false; OpenAI's activation is QuickGELU");
    problems.unless(model.init_logit_bias.is_none(), "init_logit_bias", "there is no logit bias");
    if let Some(timm) = &vision.timm {
        let cause = format!("`{}`; its image towers are its own", timm.model_name);
        problems.unless(false, "vision_cfg.timm_model_name", cause);
    } else {
        match vision.layers {
            VisionLayers::Blocks(_) => check_vision_transformer(model, problems),
            VisionLayers::Stages(_) => {
                let heads = vision.width * 32 / HEAD_WIDTH;
                let fits = vision.head_width * heads == vision.width * 32;
                problems.unless(fits, "vision_cfg.head_width", format!("{}; its is 64", vision.head_width));
            }
        }
    }
    if let Some(tower) = &text.hugging_face {
        let cause = format!("`{}`; its text tower is its own", tower.model_name);
        problems.unless(false, "text_cfg.hf_model_name", cause);
        return;
    }
    check_text(model, problems);
}

fn check_vision_transformer(model: &ModelConfig, problems: &mut Problems) {
    let vision = &model.vision;
    let square = |sides: [usize; 2]| sides[0] == sides[1];
    problems.unless(square(vision.image_size), "vision_cfg.image_size", "not a square");
    problems.unless(vision.patch_size.is_some_and(square), "vision_cfg.patch_size", "not a square");
    if let Some([patch, _]) = vision.patch_size {
        let fits = vision.image_size[0].is_multiple_of(patch);
        problems.unless(fits, "vision_cfg.image_size", format!("not a multiple of the patch size {patch}"));
    }
    let heads = vision.width / vision.head_width;
    problems.unless(
        heads == vision.width / HEAD_WIDTH,
        "vision_cfg.head_width",
        format!("{}; its is 64", vision.head_width),
    );
    problems.unless(
        vision.mlp_ratio == 4.0,
        "vision_cfg.mlp_ratio",
        format!("{}; its is 4", vision.mlp_ratio),
    );
    super::transformers_clip::check_plain_vision(vision, problems);
    problems.unless(
        vision.norm.epsilon == 1e-5,
        "vision_cfg.norm_kwargs.eps",
        format!("{:e}; its is 1e-5", vision.norm.epsilon),
    );
    problems.unless(
        vision.pool == VisionPool::Token,
        "vision_cfg.pool_type",
        "OpenAI's code uses the class token",
    );
}

fn check_text(model: &ModelConfig, problems: &mut Problems) {
    let text = &model.text;
    super::transformers_clip::check_plain_text(text, problems);
    problems.unless(text.projection, "text_cfg.proj_type", "there is always a projection");
    problems.unless(
        text.heads == text.width / HEAD_WIDTH,
        "text_cfg.heads",
        format!("{}; OpenAI's heads are 64 wide", text.heads),
    );
    problems.unless(text.mlp_ratio == 4.0, "text_cfg.mlp_ratio", format!("{}; its is 4", text.mlp_ratio));
    problems.unless(
        text.norm.epsilon == 1e-5,
        "text_cfg.norm_kwargs.eps",
        format!("{:e}; its is 1e-5", text.norm.epsilon),
    );
    // Where the end token has the highest id of all, it is the token that OpenAI's code uses.
    let ends_highest = text.pool == TextPool::Eos && text.eos_id + 1 == text.vocab_size as i64;
    problems.unless(
        text.pool == TextPool::Argmax || ends_highest,
        "text_cfg.pool_type",
        "OpenAI's code uses the token with the highest id",
    );
    let TokenizerConfig { name, cleaning, .. } = &text.tokenizer;
    // For a folder with CLIP's table, the tokenizer is compared with CLIP's when it is read.
    let own = name.as_deref().is_none_or(|name| name == OWN_TOKENIZER && text.vocab_size == CLIP_VOCABULARY);
    problems.unless(own, "text_cfg.hf_tokenizer_name", "OpenAI's tokenizer is CLIP's");
    if name.is_none() {
        let lower = cleaning.is_none_or(|clean| clean == Clean::Lower);
        let cause = "OpenAI's code lower-cases texts and keeps punctuation";
        problems.unless(lower, "text_cfg.tokenizer_kwargs.clean", cause);
    }
}

fn check_preprocessing(found: &PreprocessConfig, problems: &mut Problems) {
    let own = PreprocessConfig::new(found.size);
    let same = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    problems.unless(
        same(found.mean, own.mean),
        "preprocess_cfg.mean",
        format!("{:?}; its is {:?}", found.mean, own.mean),
    );
    problems.unless(
        same(found.std, own.std),
        "preprocess_cfg.std",
        format!("{:?}; its is {:?}", found.std, own.std),
    );
    let bicubic = found.interpolation != Interpolation::Bilinear;
    problems.unless(bicubic, "preprocess_cfg.interpolation", "bilinear; its is bicubic");
    let shortest = found.resize_mode == ResizeMode::Shortest;
    problems.unless(
        shortest,
        "preprocess_cfg.resize_mode",
        format!("{}; its is shortest", found.resize_mode.name()),
    );
    for difference in found.open_clip_differences() {
        problems.push(difference.to_string());
    }
}
