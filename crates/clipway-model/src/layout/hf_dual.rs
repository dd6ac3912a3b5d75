//! Models of transformers that join CLIP's image tower with a BERT: `ChineseCLIPModel` and `VisionTextDualEncoderModel`.
//!
//! open_clip has them as `CustomTextCLIP` with a text tower of Hugging Face transformers.

use clipway_formats::TensorInfo;
use serde_json::json;

use super::hf_clip::{POSITION_IDS, VISION_BLOCKS, VISION_NAMES};
use super::hf_clip_config::{self, Described};
use super::hf_config::{
    Activation, Defaults, Document, ImageSizes, Kinds, OWN_TOKENIZER, Shapes, Tower, sides,
};
use super::names::{Change, NameTable};
use super::{Conversion, KnownConfig, Layout, LayoutError, has_prefix};
use crate::checkpoint::Checkpoint;
use crate::config::limits;
use crate::config::text_model::{TextModel, TextModelError};
use crate::plan::Towers;
use crate::problems::Problems;
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "transformers_dual",
    title: "Hugging Face transformers CLIP with a BERT as text tower",
    recognizes: |tensors| {
        has_prefix(tensors, "vision_model.pre_layrnorm.")
            && has_prefix(tensors, "text_model.embeddings.word_embeddings.")
    },
    conversion: Conversion::Steps(|state_dict| NAMES.to_open_clip(state_dict)),
    known_config: Some(known_config),
    check_numbers: None,
};

/// The names beside open_clip's.
static NAMES: NameTable = NameTable {
    tensors: &[
        VISION_NAMES[0],
        VISION_NAMES[1],
        VISION_NAMES[2],
        VISION_NAMES[3],
        ("text_projection.weight", "text.proj.weight", Change::None),
        ("logit_scale", "logit_scale", Change::Number),
    ],
    modules: &[
        ("vision_model.pre_layrnorm.", "visual.ln_pre."),
        ("vision_model.post_layernorm.", "visual.ln_post."),
        ("text_model.", "text.transformer."),
    ],
    poolers: &[],
    blocks: &[VISION_BLOCKS],
    leftovers: &[POSITION_IDS, ("embeddings.token_type_ids", "token type ids are all 0, and not stored")],
};

/// What the file says is in it.
const KINDS: Kinds = Kinds { both: &["chinese_clip", DUAL], image: &[], text: &[] };

/// A pair of any two models, whose text features go through the text model's own pooler.
const DUAL: &str = "vision-text-dual-encoder";

/// Kinds of text model, with one of each by name: open_clip finds the code of the kind by it.
const TEXT_MODELS: [(&str, &str, &str); 4] = [
    ("chinese_clip_text_model", "bert", "bert-base-chinese"),
    ("bert", "bert", "bert-base-uncased"),
    ("roberta", "roberta", "roberta-base"),
    ("xlm-roberta", "xlm-roberta", "xlm-roberta-base"),
];

fn known_config(
    checkpoint: &Checkpoint,
    state_dict: &StateDict,
    _: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let document = Document::open(checkpoint)?;
    let mut problems = Problems::default();
    let described = read(&document, state_dict, &mut problems);
    hf_clip_config::known(checkpoint, Towers::Both, described, problems)
}

fn read(document: &Document, state_dict: &StateDict, problems: &mut Problems) -> Described {
    let weights = Shapes { state_dict };
    // The text model's object is read as its own library does, below.
    let sections = document.sections(&KINDS, Towers::Image, problems);
    let image_section = sections.image.as_ref().unwrap_or(&sections.root);
    let embed_dim = sections.root.integer("projection_dim", 512, 1..=limits::WIDTH, problems);
    for projection in ["visual_projection.weight", "text_projection.weight"] {
        problems.compare(&sections.root, "projection_dim", embed_dim, weights.length(projection, 0));
    }
    let defaults = Defaults { sizes: [768, 3072, 12, 12], activation: Activation::QuickGelu, epsilon: 1e-5 };
    let tower = Tower::read(image_section, defaults, problems);
    let ImageSizes { image, patch } = ImageSizes::read(image_section, 32, 1, &weights, problems);
    let class = weights.length("vision_model.embeddings.class_embedding", 0);
    tower.compare(image_section, "vision_model", class, &weights, problems);
    let mut vision = tower.config();
    vision.insert("image_size".into(), sides(image));
    vision.insert("patch_size".into(), sides(patch));
    vision.insert("head_width".into(), json!(tower.width / tower.heads));

    let mut text = document.raw()["text_config"].take();
    if !text.is_object() {
        text = json!({});
    }
    let kind = text["model_type"].as_str().unwrap_or_default().to_owned();
    let known = TEXT_MODELS.into_iter().find(|(found, ..)| *found == kind);
    let (family, name) = known.map_or(("", ""), |(_, family, name)| (family, name));
    if known.is_none() {
        let kinds: Vec<String> = TEXT_MODELS.iter().map(|(kind, ..)| format!("`{kind}`")).collect();
        problems.push(format!("`$.text_config.model_type`: expected {}, found `{kind}`", kinds.join(", ")));
    }
    text["model_type"] = json!(family);
    let text_file = text.to_string().into_bytes();
    let text_model = match TextModel::parse(&text_file) {
        Ok(model) => model,
        Err(TextModelError::Problems(found)) => {
            found.iter().for_each(|problem| problems.push(problem.replacen("`$.", "`$.text_config.", 1)));
            None
        }
        Err(error) => {
            problems.push(error.to_string());
            None
        }
    };
    let mut context = 0;
    let mut vocabulary = 0;
    if let Some(model) = &text_model {
        context = model.most_tokens().unwrap_or(limits::TOKENS);
        vocabulary = model.vocab_size;
        let rows = weights.length("text_model.embeddings.word_embeddings.weight", 0);
        if let Some(rows) = rows.filter(|rows| *rows != vocabulary) {
            problems.push(format!("`$.text_config.vocab_size`: {vocabulary}, but the weights have {rows}"));
        }
    }
    let pooler = if sections.kind == DUAL { "cls_pooler" } else { "cls_last_hidden_state_pooler" };
    let model = json!({
        "embed_dim": embed_dim,
        "quick_gelu": tower.activation == Activation::QuickGelu,
        "custom_text": true,
        "vision_cfg": vision,
        "text_cfg": {
            "hf_model_name": name,
            "hf_tokenizer_name": OWN_TOKENIZER,
            "hf_proj_type": "linear",
            "hf_pooler_type": pooler,
            "hf_model_pretrained": false,
            "context_length": context.clamp(1, limits::TOKENS),
            "vocab_size": vocabulary.max(1),
        },
    });
    Described {
        model,
        image_size: image,
        origins: sections.origins(&[]),
        text_model,
        text_model_file: Some(text_file),
    }
}
