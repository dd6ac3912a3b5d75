//! Chinese-CLIP (<https://arxiv.org/abs/2211.01335>) in the names of its own code: OpenAI's image tower, and BERT under
//! `bert.`, whose first token is projected.
//!
//! open_clip has it as `CustomTextCLIP` with a text tower of Hugging Face transformers, as it has the same models in
//! transformers' names. The code's settings are in its repository and not in the files: what no shape shows is
//! [`known_config`]'s.

use clipway_formats::TensorInfo;
use serde_json::json;

use super::names::{Change, NameTable};
use super::{Conversion, KnownConfig, Layout, LayoutError, has_prefix};
use crate::checkpoint::Checkpoint;
use crate::config::text_model::{BertSizes, TextModel};
use crate::config::{ConfigFile, ModelConfig, PreprocessOptions, ResizeMode};
use crate::contract::{Field, Origin, Origins};
use crate::identify::reconstruct_vision;
use crate::plan::{Converted, DroppedTensor, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "chinese_clip",
    title: "Chinese-CLIP with the names of its own code",
    recognizes: |tensors| has_prefix(tensors, "bert.embeddings.") && has_prefix(tensors, "visual."),
    conversion: Conversion::Steps(convert),
    known_config: Some(known_config),
    check_numbers: None,
};

/// The names beside open_clip's.
static NAMES: NameTable = NameTable {
    tensors: &[("text_projection", "text.proj.weight", Change::Transposed)],
    modules: &[("bert.", "text.transformer.")],
    poolers: &[],
    blocks: &[],
    leftovers: &[("embeddings.position_ids", "position ids are computed, not stored")],
};

/// BERT's pooler, which the model does not use. Its own loader drops it too.
const POOLER: &str = "bert.pooler.";

/// The longest text of all its released models, in tokens.
const CONTEXT: usize = 52;

fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let mut converted = NAMES.to_open_clip(state_dict)?;
    let pooler = |tensor: &&TensorInfo| tensor.name.starts_with(POOLER);
    let dropped: Vec<TensorInfo> = state_dict.tensors().iter().filter(pooler).cloned().collect();
    converted.tensors.retain(|planned| !planned.sources.iter().any(|source| dropped.contains(source)));
    let rule = "BERT's pooler, which the model does not use";
    converted.dropped.extend(dropped.into_iter().map(|tensor| DroppedTensor { tensor, rule }));
    Ok(converted)
}

/// The config according to shapes and the model's code.
fn known_config(
    _: &Checkpoint,
    state_dict: &StateDict,
    tensors: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let shapes = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()));
    let (Some((embed_dim, vision)), Some(bert)) = (reconstruct_vision(shapes), bert(state_dict)) else {
        return Ok(None);
    };
    let malformed = |cause| LayoutError::Malformed { file: "the config inferred from the shapes", cause };
    let text_file = bert.to_string().into_bytes();
    let Ok(Some(text_model)) = TextModel::parse(&text_file) else { return Ok(None) };
    let vision: serde_json::Value = serde_json::from_str(&vision).unwrap_or_default();
    let model = json!({
        "embed_dim": embed_dim,
        "quick_gelu": true,
        "custom_text": true,
        "vision_cfg": vision,
        "text_cfg": {
            "hf_model_name": "bert-base-chinese",
            "hf_tokenizer_name": super::OWN_TOKENIZER,
            "hf_proj_type": "linear",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "hf_model_pretrained": false,
            "context_length": CONTEXT,
            "vocab_size": text_model.vocab_size,
        },
    });
    let mut model = ModelConfig::parse(model.to_string().as_bytes()).map_err(malformed)?;
    let heads = text_model.heads;
    model.set_text_model(text_model);
    let mut origins = Origins::default();
    for field in [Field::ContextLength, Field::ResizeMode, Field::TextEpsilon] {
        origins.set(field, Origin::Layout { why: "Chinese-CLIP's code".to_owned() });
    }
    Ok(Some(KnownConfig {
        config: ConfigFile {
            model,
            preprocess: PreprocessOptions {
                resize_mode: Some(ResizeMode::Squash),
                ..PreprocessOptions::default()
            },
        },
        name: None,
        from: "the shapes, with the activations, heads and preprocessing of Chinese-CLIP's code".to_owned(),
        origins,
        activation_from: "Chinese-CLIP's code uses only QuickGELU in its image tower".to_owned(),
        disagreements: Vec::new(),
        text_model_file: Some(text_file),
        notes: vec![format!(
            "the text model's {heads} heads were assumed: no tensor shows them, and all released models have heads of \
             {}",
            BertSizes::HEAD_WIDTH
        )],
    }))
}

/// The `config.json` that transformers would have for the BERT.
fn bert(state_dict: &StateDict) -> Option<serde_json::Value> {
    let sizes = BertSizes::of(state_dict.tensors(), "bert.")?;
    Some(sizes.config("bert", (sizes.width / BertSizes::HEAD_WIDTH).max(1), 1e-12, 0))
}
