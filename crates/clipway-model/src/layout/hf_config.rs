//! The config of transformers' `CLIPModel`, from its `config.json`.

use clipway_formats::{FormatError, Json, JsonLimits, TensorInfo};
use serde_json::{Map, Value, json};

use super::{KnownConfig, LayoutError, hf_preprocessor};
use crate::checkpoint::Checkpoint;
use crate::config::{ConfigFile, ModelConfig, limits};
use crate::hugging_face::section::{Problems, Section};
use crate::identify::mlp_ratio;
use crate::state_dict::StateDict;

/// Name of the file.
pub(super) const CONFIG: &str = "config.json";

/// Name of a tokeniser's file that says everything.
const TOKENIZER: &str = "tokenizer.json";

/// Rows of the token embedding with CLIP's own vocabulary.
const CLIP_VOCABULARY: usize = 49408;

/// End token that transformers reads as "the highest id", for configs older than its fix of that key.
const LEGACY_END: usize = 2;

/// Epsilon of layer norms that open_clip takes where nothing is said.
const EPSILON: f64 = 1e-5;

const ROOT_KEYS: [&str; 6] = [
    "model_type",
    "projection_dim",
    "text_config",
    "vision_config",
    "text_config_dict",
    "vision_config_dict",
];

const TOWER_KEYS: [&str; 14] = [
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "projection_dim",
    "vocab_size",
    "max_position_embeddings",
    "eos_token_id",
    "num_channels",
    "image_size",
    "patch_size",
];

/// An activation, by its name in transformers.
#[derive(Clone, Copy, PartialEq)]
enum Activation {
    Gelu,
    TanhGelu,
    QuickGelu,
}

const ACTIVATIONS: [(&str, Activation); 3] = [
    ("gelu", Activation::Gelu),
    ("gelu_pytorch_tanh", Activation::TanhGelu),
    ("quick_gelu", Activation::QuickGelu),
];

/// What both towers have.
struct Tower {
    width: usize,
    heads: usize,
    layers: usize,
    mlp_width: usize,
    activation: Activation,
    epsilon: f64,
}

/// Reads the `config.json` beside the weights and compares every number with their shapes.
pub(super) fn known_config(
    checkpoint: &Checkpoint,
    state_dict: &StateDict,
    _: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let Some(bytes) = checkpoint.read_beside(CONFIG)? else {
        return Err(LayoutError::MissingFile { file: CONFIG, what: "activation, heads and end token" });
    };
    let document = parse(CONFIG, &bytes)?;
    let mut problems = Problems::default();
    let (model, image_size) = model(&document, state_dict, checkpoint, &mut problems)?;
    if !problems.0.is_empty() {
        return Err(LayoutError::Contradictions { file: CONFIG, problems: problems.0 });
    }
    let malformed = |cause| LayoutError::Malformed { file: CONFIG, cause };
    let model = ModelConfig::parse(model.to_string().as_bytes()).map_err(malformed)?;
    let (preprocess, note) = hf_preprocessor::read(checkpoint, image_size)?;
    Ok(Some(KnownConfig {
        config: ConfigFile { model, preprocess },
        name: None,
        from: format!("`{CONFIG}` of transformers beside the weights"),
        activation_from: format!("`hidden_act` of `{CONFIG}`"),
        notes: note.into_iter().collect(),
    }))
}

/// Parses a JSON file of a folder.
pub(super) fn parse(file: &'static str, bytes: &[u8]) -> Result<Json, LayoutError> {
    let limits = JsonLimits { bytes: 1 << 20, depth: 16, values: 10_000, ..JsonLimits::CONFIG };
    Json::parse(bytes, limits).map_err(|cause: FormatError| LayoutError::Malformed { file, cause })
}

/// open_clip's model config, and height and width of the images.
fn model(
    document: &Json,
    state_dict: &StateDict,
    checkpoint: &Checkpoint,
    problems: &mut Problems,
) -> Result<(Value, [usize; 2]), LayoutError> {
    let root = Section::new(Some(document.root()), &ROOT_KEYS, problems);
    match root.value("model_type").map(|value| value.string().map(str::to_owned)) {
        Some(Ok(kind)) if kind == "clip" => {}
        Some(Ok(kind)) => {
            let kind = clipway_formats::shown(&kind);
            problems.add(
                &root,
                "model_type",
                format!("expected `clip`, found `{kind}`: it is another model"),
            );
        }
        Some(Err(error)) => problems.0.push(error.to_string()),
        None => problems.add(&root, "model_type", "it is missing"),
    }
    // Where the older key is there, transformers takes it, with defaults for what it leaves out.
    let section = |older: &str, newer: &str, problems: &mut Problems| {
        let at = root.value(older).or_else(|| root.value(newer));
        Section::new(at, &TOWER_KEYS, problems)
    };
    let vision_section = section("vision_config_dict", "vision_config", problems);
    let text_section = section("text_config_dict", "text_config", problems);
    let embed_dim = root.integer("projection_dim", 512, 1..=limits::WIDTH, problems);
    let vision = tower(&vision_section, [768, 3072, 12, 12], problems);
    let text = tower(&text_section, [512, 2048, 12, 8], problems);
    let image_size = vision_section.sides("image_size", 224, limits::IMAGE_SIDE, problems);
    let patch = vision_section.sides("patch_size", 32, limits::IMAGE_SIDE, problems);
    let channels = vision_section.integer("num_channels", 3, 1..=limits::WIDTH, problems);
    let vocabulary = text_section.integer("vocab_size", CLIP_VOCABULARY, 1..=limits::VOCABULARY, problems);
    let context = text_section.integer("max_position_embeddings", 77, 1..=limits::TOKENS, problems);
    let end = text_section.integer("eos_token_id", 49407, 0..=limits::VOCABULARY, problems);

    if channels != 3 {
        problems.add(&vision_section, "num_channels", format!("{channels}; open_clip's images have 3"));
    }
    let quick = [&vision, &text].map(|tower| tower.activation == Activation::QuickGelu);
    if quick[0] != quick[1] {
        let cause = "one tower has `quick_gelu` and the other has not, which no config of open_clip says";
        problems.add(&root, "*.hidden_act", cause);
    }
    let weights = Shapes { state_dict };
    let grid = (image_size[0] / patch[0]) * (image_size[1] / patch[1]);
    let rows = weights.length("vision_model.embeddings.position_embedding.weight", 0);
    if rows.is_some_and(|rows| rows != grid + 1) {
        let cause = format!(
            "{}x{} in patches of {}x{} are {} tokens, but the weights have {}",
            image_size[0],
            image_size[1],
            patch[0],
            patch[1],
            grid + 1,
            rows.unwrap_or(0)
        );
        problems.add(&vision_section, "image_size", cause);
    }
    for (index, side) in patch.into_iter().enumerate() {
        let found = weights.length("vision_model.embeddings.patch_embedding.weight", 2 + index);
        problems.compare(&vision_section, "patch_size", side, found);
    }
    for projection in ["visual_projection.weight", "text_projection.weight"] {
        problems.compare(&root, "projection_dim", embed_dim, weights.length(projection, 0));
    }
    let tokens = "text_model.embeddings.token_embedding.weight";
    let positions = "text_model.embeddings.position_embedding.weight";
    problems.compare(&text_section, "vocab_size", vocabulary, weights.length(tokens, 0));
    problems.compare(&text_section, "max_position_embeddings", context, weights.length(positions, 0));
    let class = "vision_model.embeddings.class_embedding";
    compare_tower(&vision_section, &vision, "vision_model", weights.length(class, 0), &weights, problems);
    compare_tower(&text_section, &text, "text_model", weights.length(tokens, 1), &weights, problems);

    let mut vision_config = tower_config(&vision);
    vision_config.insert("image_size".into(), sides(image_size));
    vision_config.insert("patch_size".into(), sides(patch));
    vision_config.insert("head_width".into(), json!(vision.width / vision.heads));
    let mut text_config = tower_config(&text);
    text_config.insert("context_length".into(), json!(context));
    text_config.insert("vocab_size".into(), json!(vocabulary));
    text_config.insert("heads".into(), json!(text.heads));
    if end != LEGACY_END {
        text_config.insert("pool_type".into(), json!("eos"));
        text_config.insert("eos_id".into(), json!(end));
    }
    if vocabulary != CLIP_VOCABULARY && checkpoint.has_beside(TOKENIZER) {
        // open_clip takes the files in the folder, whatever the name.
        text_config.insert("hf_tokenizer_name".into(), json!("tokenizer"));
    }
    let mut config = json!({
        "embed_dim": embed_dim,
        "quick_gelu": quick[0],
        "vision_cfg": vision_config,
        "text_cfg": text_config,
    });
    if state_dict.find("logit_bias").is_some() {
        config["init_logit_bias"] = json!(-10);
    }
    Ok((config, image_size))
}

/// Reads what both towers have; the defaults are those of width, MLP, layers and heads.
fn tower(section: &Section<'_>, defaults: [usize; 4], problems: &mut Problems) -> Tower {
    let [width, mlp_width, layers, heads] = defaults;
    let tower = Tower {
        width: section.integer("hidden_size", width, 1..=limits::WIDTH, problems),
        mlp_width: section.integer("intermediate_size", mlp_width, 1..=limits::WIDTH * 64, problems),
        layers: section.integer("num_hidden_layers", layers, 1..=limits::LAYERS, problems),
        heads: section.integer("num_attention_heads", heads, 1..=limits::WIDTH, problems),
        activation: section.word("hidden_act", Activation::QuickGelu, &ACTIVATIONS, problems),
        epsilon: section.number("layer_norm_eps", EPSILON, 0.0..=1.0, problems),
    };
    if !tower.width.is_multiple_of(tower.heads) {
        let cause = format!("{} does not divide `hidden_size`, {}", tower.heads, tower.width);
        problems.add(section, "num_attention_heads", cause);
    }
    tower
}

/// Compares what both towers have with the weights.
fn compare_tower(
    section: &Section<'_>,
    tower: &Tower,
    prefix: &str,
    width: Option<usize>,
    weights: &Shapes<'_>,
    problems: &mut Problems,
) {
    problems.compare(section, "hidden_size", tower.width, width);
    let blocks = format!("{prefix}.encoder.layers.");
    problems.compare(section, "num_hidden_layers", tower.layers, weights.blocks(&blocks));
    let mlp = weights.length(&format!("{blocks}0.mlp.fc1.weight"), 0);
    problems.compare(section, "intermediate_size", tower.mlp_width, mlp);
}

/// The keys that open_clip has in both towers.
fn tower_config(tower: &Tower) -> Map<String, Value> {
    let mut config = Map::new();
    config.insert("layers".into(), json!(tower.layers));
    config.insert("width".into(), json!(tower.width));
    if tower.mlp_width != 4 * tower.width {
        config.insert("mlp_ratio".into(), json!(mlp_ratio(tower.width, tower.mlp_width)));
    }
    if tower.epsilon != EPSILON {
        config.insert("norm_kwargs".into(), json!({ "eps": tower.epsilon }));
    }
    if tower.activation == Activation::TanhGelu {
        config.insert("act_kwargs".into(), json!({ "approximate": "tanh" }));
    }
    config
}

fn sides([height, width]: [usize; 2]) -> Value {
    if height == width { json!(height) } else { json!([height, width]) }
}

/// Shapes of the weights, as far as they are there.
struct Shapes<'a> {
    state_dict: &'a StateDict,
}

impl Shapes<'_> {
    /// Length of a dimension of a tensor.
    fn length(&self, name: &str, dimension: usize) -> Option<usize> {
        self.state_dict.get(name).and_then(|tensor| tensor.shape.get(dimension).copied())
    }

    /// One more than the highest number of a block; blocks that are missing between are the plan's to report.
    fn blocks(&self, prefix: &str) -> Option<usize> {
        let number = |name: &str| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
        let highest = self.state_dict.tensors().iter().filter_map(|tensor| number(&tensor.name)).max();
        highest.and_then(|highest| highest.checked_add(1))
    }
}
