//! The config of transformers' `SiglipModel`, read from its `config.json`.

use clipway_formats::TensorInfo;

use super::hf_config::{
    Activation, CONFIG, Defaults, Document, ImageSizes, Kinds, Shapes, Tower, absent, has_tokenizer,
    text_sizes, towers_of,
};
use super::hf_preprocessor::TowerSizes;
use super::hf_siglip::{PATCHES, is_naflex};
use super::siglip_config::{SiglipShape, SiglipTower};
use super::{Contradictions, KnownConfig, LayoutError, hf_preprocessor, hf_processor_class};
use crate::checkpoint::Checkpoint;
use crate::config::section::Section;
use crate::config::{ConfigFile, limits};
use crate::contract::Origins;
use crate::problems::Problems;
use crate::state_dict::StateDict;

/// What the file says is in it.
const KINDS: Kinds = Kinds {
    both: &["siglip", "siglip2"],
    image: &["siglip_vision_model", "siglip2_vision_model"],
    text: &["siglip_text_model", "siglip2_text_model"],
};

/// Tokens of a text and of the vocabulary, where nothing is said.
const TEXT_SIZES: [usize; 2] = [64, 32000];

/// Reads the `config.json` beside the weights and compares every number with their shapes.
pub(super) fn known_config(
    checkpoint: &Checkpoint,
    state_dict: &StateDict,
    converted: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let document = Document::open(checkpoint)?;
    let has = towers_of(state_dict);
    let mut problems = Problems::default();
    let (shape, mut origins) = shape(&document, state_dict, checkpoint, &mut problems);
    let mut found = Contradictions::default();
    found.add(CONFIG, problems);
    let (model, name, mut notes) = match shape.config(converted) {
        Ok(told) => told,
        Err(cause) => return Err(found.or(LayoutError::Malformed { file: CONFIG, cause })),
    };
    let (class, patch) = match is_naflex(state_dict) {
        true => (&hf_processor_class::SIGLIP2, Some(shape.patch_size[0])),
        false => (&hf_processor_class::SIGLIP, None),
    };
    let sizes = TowerSizes { image_size: model.vision.image_size, patch };
    let preprocessing = match hf_preprocessor::read(checkpoint, has, sizes, class, &mut found) {
        Ok(read) => read,
        Err(error) => return Err(found.or(error)),
    };
    notes.extend(preprocessing.notes);
    origins.merge(preprocessing.origins);
    notes.extend(absent(has));
    found.none(KnownConfig {
        config: ConfigFile { model, preprocess: preprocessing.options },
        name,
        from: format!("`{CONFIG}` of transformers beside the weights"),
        origins,
        activation_from: format!("`hidden_act` of `{CONFIG}`"),
        disagreements: preprocessing.disagreements,
        text_model_file: None,
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
    let sections = document.sections(&KINDS, towers_of(state_dict), problems);
    let defaults =
        || Defaults { sizes: [768, 3072, 12, 12], activation: Activation::TanhGelu, epsilon: 1e-6 };
    let mut read = |section: Option<&Section<'_>>, prefix: &str, width: &str, dimension: usize| {
        let section = section?;
        let tower = Tower::read(section, defaults(), problems);
        if tower.activation == Activation::QuickGelu {
            problems.add(section, "hidden_act", "`quick_gelu`, which no SigLIP model in open_clip uses");
        }
        tower.compare(section, prefix, weights.length(width, dimension), &weights, problems);
        Some(SiglipTower {
            width: tower.width,
            layers: tower.layers,
            heads: tower.heads,
            mlp_width: tower.mlp_width,
            tanh: Some(tower.activation == Activation::TanhGelu),
            epsilon: tower.epsilon,
        })
    };
    let vision = read(sections.image.as_ref(), "vision_model", PATCHES, 0);
    let tokens = "text_model.embeddings.token_embedding.weight";
    let text = read(sections.text.as_ref(), "text_model", tokens, 1);
    let sizes = sections.image.as_ref().map(|section| match is_naflex(state_dict) {
        true => ImageSizes::of_naflex(section, &weights, problems),
        false => ImageSizes::read(section, 16, 0, &weights, problems),
    });
    let ImageSizes { image, patch } = sizes.unwrap_or(ImageSizes { image: [224; 2], patch: [16; 2] });
    let lengths = sections.text.as_ref().map(|at| text_sizes(at, TEXT_SIZES, &weights, problems));
    let [context, vocabulary] = lengths.unwrap_or(TEXT_SIZES);
    let mut embed_dim = vision.as_ref().map(|tower| tower.width);
    if let (Some(section), Some(text)) = (&sections.text, &text) {
        let said = section.integer("projection_size", text.width, 1..=limits::WIDTH, problems);
        problems.compare(section, "projection_size", said, weights.length("text_model.head.weight", 0));
        if let Some(width) = embed_dim.filter(|width| *width != said) {
            let cause = format!("{said}, but images give vectors of {width}");
            problems.add(section, "projection_size", cause);
        }
        embed_dim = embed_dim.or(Some(said));
    }
    if let Some(section) = &sections.image
        && !section.boolean("vision_use_head", true, problems)
    {
        problems.add(section, "vision_use_head", "false; without it there is no vector of an image");
    }
    // A tower that the weights do not have is never built: the smallest one of the right width stands for it.
    let absent = || SiglipTower {
        width: embed_dim.unwrap_or(1),
        layers: 1,
        heads: 1,
        mlp_width: 4 * embed_dim.unwrap_or(1),
        tanh: Some(true),
        epsilon: SiglipTower::EPSILON,
    };
    let (vision, text) = (vision.unwrap_or_else(absent), text.unwrap_or_else(absent));
    let shape = SiglipShape {
        naflex: is_naflex(state_dict),
        image_size: image,
        patch_size: patch,
        vision,
        text,
        context_length: context,
        vocabulary,
        has_tokenizer: has_tokenizer(checkpoint),
        cleans_texts: has_tokenizer(checkpoint),
    };
    (shape, sections.origins(&[]))
}
