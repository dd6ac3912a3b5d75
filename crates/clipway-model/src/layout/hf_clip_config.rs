//! The config of transformers' `CLIPModel`, read from its `config.json`.

use clipway_formats::TensorInfo;
use serde_json::{Value, json};

use super::hf_config::{
    Activation, CONFIG, Defaults, Document, ImageSizes, Kinds, OWN_TOKENIZER, Sections, Shapes, Tower,
    absent, has_tokenizer, sides, text_sizes, towers_of,
};
use super::hf_preprocessor::TowerSizes;
use super::{Contradictions, KnownConfig, LayoutError, hf_preprocessor, hf_processor_class};
use crate::checkpoint::Checkpoint;
use crate::config::text_model::TextModel;
use crate::config::{ConfigFile, ModelConfig, limits};
use crate::contract::{Field, Origins};
use crate::plan::Towers;
use crate::problems::Problems;
use crate::state_dict::StateDict;

/// What the file says is in it.
const KINDS: Kinds = Kinds {
    both: &["clip", "metaclip_2"],
    image: &["clip_vision_model", "metaclip_2_vision_model"],
    text: &["clip_text_model", METACLIP[1]],
};

/// Models that pool at the first end token whatever its id: [`LEGACY_END`] means nothing else to them.
const METACLIP: [&str; 2] = ["metaclip_2", "metaclip_2_text_model"];

/// Projections to the shared width.
const PROJECTIONS: [&str; 2] = ["visual_projection.weight", "text_projection.weight"];

/// Side of the images where the weights have no image tower: open_clip's default.
const OTHER_SIDE: usize = 224;

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
    let described = model(&document, state_dict, checkpoint, &mut problems);
    known(checkpoint, towers_of(state_dict), described, problems)
}

/// What a `config.json` describes.
pub(super) struct Described {
    /// open_clip's model config.
    pub(super) model: Value,
    /// Height and width of the images.
    pub(super) image_size: [usize; 2],
    pub(super) origins: Origins,
    /// A text model of transformers.
    pub(super) text_model: Option<TextModel>,
    /// That model's own config, as transformers would have it beside the weights.
    pub(super) text_model_file: Option<Vec<u8>>,
}

/// The config of a folder whose `config.json` is read, with the preprocessing of CLIP's image processor.
pub(super) fn known(
    checkpoint: &Checkpoint,
    has: Towers,
    described: Described,
    problems: Problems,
) -> Result<Option<KnownConfig>, LayoutError> {
    let Described { model, image_size, mut origins, text_model, text_model_file } = described;
    let mut found = Contradictions::default();
    found.add(CONFIG, problems);
    let sizes = TowerSizes::of(image_size);
    let read = hf_preprocessor::read(checkpoint, has, sizes, &hf_processor_class::CLIP, &mut found);
    let malformed = |cause| LayoutError::Malformed { file: CONFIG, cause };
    let parsed = ModelConfig::parse(model.to_string().as_bytes()).map_err(malformed);
    let (mut model, preprocessing) = match (parsed, read) {
        (Ok(model), Ok(read)) => (model, read),
        (Err(error), _) | (_, Err(error)) => return Err(found.or(error)),
    };
    origins.merge(preprocessing.origins);
    if let Some(text_model) = text_model {
        model.set_text_model(text_model);
    }
    found.none(KnownConfig {
        config: ConfigFile { model, preprocess: preprocessing.options },
        name: None,
        from: format!("`{CONFIG}` of transformers beside the weights"),
        origins,
        activation_from: format!("`hidden_act` of `{CONFIG}`"),
        disagreements: preprocessing.disagreements,
        text_model_file,
        notes: preprocessing.notes.into_iter().chain(absent(has)).collect(),
    })
}

/// What the file describes.
fn model(
    document: &Document,
    state_dict: &StateDict,
    checkpoint: &Checkpoint,
    problems: &mut Problems,
) -> Described {
    let weights = Shapes { state_dict };
    let sections = document.sections(&KINDS, towers_of(state_dict), problems);
    let Sections { kind, root, image, text, .. } = &sections;
    let defaults = |sizes| Defaults { sizes, activation: Activation::QuickGelu, epsilon: 1e-5 };
    let image = image.as_ref().map(|at| (at, Tower::read(at, defaults([768, 3072, 12, 12]), problems)));
    let text = text.as_ref().map(|at| (at, Tower::read(at, defaults([512, 2048, 12, 8]), problems)));
    let projected = PROJECTIONS.into_iter().any(|name| state_dict.get(name).is_some());
    let width = image.as_ref().or(text.as_ref()).map_or(0, |(_, tower)| tower.width);
    let embed_dim = match sections.is_single() && !projected {
        true => width,
        false => root.integer("projection_dim", 512, 1..=limits::WIDTH, problems),
    };
    for name in PROJECTIONS.into_iter().filter(|_| projected) {
        problems.compare(root, "projection_dim", embed_dim, weights.length(name, 0));
    }
    let quick =
        [&image, &text].map(|side| side.as_ref().map(|(_, tower)| tower.activation == Activation::QuickGelu));
    if let [Some(image), Some(text)] = quick
        && image != text
    {
        let cause = "one tower has `quick_gelu` and the other has not, which no config of open_clip says";
        problems.add(root, "*.hidden_act", cause);
    }
    let [quick_image, quick_text] = quick;
    let mut config = json!({
        "embed_dim": embed_dim,
        "quick_gelu": quick_image.or(quick_text).unwrap_or(true),
        "vision_cfg": {},
        "text_cfg": {},
    });
    let mut size = [OTHER_SIDE; 2];
    if let Some((section, tower)) = &image {
        let ImageSizes { image, patch } = ImageSizes::read(section, 32, 1, &weights, problems);
        let class = weights.length("vision_model.embeddings.class_embedding", 0);
        tower.compare(section, "vision_model", class, &weights, problems);
        let mut vision = tower.config();
        vision.insert("image_size".into(), sides(image));
        vision.insert("patch_size".into(), sides(patch));
        vision.insert("head_width".into(), json!(tower.width / tower.heads));
        config["vision_cfg"] = Value::Object(vision);
        size = image;
    }
    if let Some((section, tower)) = &text {
        let end = section.integer("eos_token_id", 49407, 0..=limits::VOCABULARY, problems);
        let [context, vocabulary] = text_sizes(section, [77, CLIP_VOCABULARY], &weights, problems);
        let tokens = weights.length("text_model.embeddings.token_embedding.weight", 1);
        tower.compare(section, "text_model", tokens, &weights, problems);
        let mut text = tower.config();
        text.insert("context_length".into(), json!(context));
        text.insert("vocab_size".into(), json!(vocabulary));
        text.insert("heads".into(), json!(tower.heads));
        if end != LEGACY_END || METACLIP.contains(&kind.as_str()) {
            text.insert("pool_type".into(), json!("eos"));
            text.insert("eos_id".into(), json!(end));
        }
        if sections.is_single() && !projected {
            text.insert("proj_type".into(), json!("none"));
        }
        if vocabulary != CLIP_VOCABULARY || has_tokenizer(checkpoint) {
            text.insert("hf_tokenizer_name".into(), json!(OWN_TOKENIZER));
        }
        config["text_cfg"] = Value::Object(text);
    }
    let end =
        [(Field::Pooling, "text_config", "eos_token_id"), (Field::EndToken, "text_config", "eos_token_id")];
    Described {
        model: config,
        image_size: size,
        origins: sections.origins(&end),
        text_model: None,
        text_model_file: None,
    }
}
