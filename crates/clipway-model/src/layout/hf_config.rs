//! What the `config.json` files of transformers' two-tower models have in common.

use clipway_formats::{FormatError, Json, JsonLimits, shown};
use serde_json::{Map, Value, json};

use super::names::has_channels_last;
use super::{LayoutError, has_prefix};
use crate::checkpoint::Checkpoint;
use crate::config::limits;
use crate::config::section::Section;
use crate::contract::{Field, Origin, Origins};
use crate::identify::mlp_ratio;
use crate::plan::Towers;
use crate::problems::Problems;
use crate::state_dict::StateDict;

/// Name of the file.
pub(super) const CONFIG: &str = "config.json";

/// Any of these files means that the folder has a tokenizer.
const TOKENIZERS: [&str; 4] = ["tokenizer.json", "vocab.json", "spiece.model", "vocab.txt"];

/// The tokenizer name for files in the folder: open_clip uses those, whatever the name.
pub const OWN_TOKENIZER: &str = "tokenizer";

/// Whether the folder has its own tokenizer.
pub(super) fn has_tokenizer(checkpoint: &Checkpoint) -> bool {
    TOKENIZERS.into_iter().any(|file| checkpoint.has_beside(file))
}

/// Keys of the file itself.
const ROOT_KEYS: [&str; 7] = [
    "model_type",
    // A width beside those of the towers, which the library ignores.
    "hidden_size",
    "projection_dim",
    "text_config",
    "vision_config",
    "text_config_dict",
    "vision_config_dict",
];

/// Keys of a tower.
const TOWER_KEYS: [&str; 17] = [
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "projection_dim",
    "projection_size",
    "vision_use_head",
    "vocab_size",
    "max_position_embeddings",
    "eos_token_id",
    "num_channels",
    "num_patches",
    "image_size",
    "patch_size",
];

/// An activation by its name in transformers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    Gelu,
    TanhGelu,
    QuickGelu,
}

const ACTIVATIONS: [(&str, Activation); 5] = [
    ("gelu", Activation::Gelu),
    ("gelu_pytorch_tanh", Activation::TanhGelu),
    ("gelu_new", Activation::TanhGelu),
    ("gelu_fast", Activation::TanhGelu),
    ("quick_gelu", Activation::QuickGelu),
];

/// open_clip's default epsilon for layer norms.
const EPSILON: f64 = 1e-5;

/// Sizes of a tower whose config states none.
pub(super) struct Defaults {
    /// Width, MLP width, blocks and heads.
    pub(super) sizes: [usize; 4],
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
}

/// Settings of both towers.
pub(super) struct Tower {
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) layers: usize,
    pub(super) mlp_width: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
}

/// Fields of a contract that a tower's object states: the tower, and the key.
const FIELDS: [(Field, &str, &str); 4] = [
    (Field::ImageSize, "vision_config", "image_size"),
    (Field::ImageEpsilon, "vision_config", "layer_norm_eps"),
    (Field::ContextLength, "text_config", "max_position_embeddings"),
    (Field::TextEpsilon, "text_config", "layer_norm_eps"),
];

/// The `config.json` beside weights, whose objects are read strictly.
pub(super) struct Document {
    json: Json,
    bytes: Vec<u8>,
}

impl Document {
    /// Reads the file.
    pub(super) fn open(checkpoint: &Checkpoint) -> Result<Document, LayoutError> {
        let Some(bytes) = checkpoint.read_beside(CONFIG)? else {
            return Err(LayoutError::MissingFile { file: CONFIG, what: "activation, heads and end token" });
        };
        Ok(Document { json: parse(CONFIG, &bytes)?, bytes })
    }

    /// The whole file, whose objects are for another reader.
    pub(super) fn raw(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// What the file says is in it.
    fn model_type(&self) -> Option<Result<String, FormatError>> {
        let value = self.json.root().get("model_type").transpose()?;
        Some(value.and_then(|value| value.string().map(str::to_owned)))
    }

    /// The objects of the towers that the weights have, of a file that must describe one of these kinds of model.
    pub(super) fn sections(&self, kinds: &Kinds, has: Towers, problems: &mut Problems) -> Sections<'_> {
        let found = self.model_type();
        let single = match &found {
            Some(Ok(kind)) if kinds.image.contains(&kind.as_str()) => Some(Towers::Image),
            Some(Ok(kind)) if kinds.text.contains(&kind.as_str()) => Some(Towers::Text),
            _ => None,
        };
        let kind = found.as_ref().and_then(|found| found.as_ref().ok()).cloned().unwrap_or_default();
        if let Some(tower) = single {
            let section = || Section::new(Some(self.json.root()), &TOWER_KEYS, &mut Problems::default());
            let root = Section::new(Some(self.json.root()), &TOWER_KEYS, problems);
            if tower != has {
                let cause = format!("`{kind}`, but the weights have {}", has.shown());
                problems.add(&root, "model_type", cause);
            }
            let [image, text] = [Towers::Image, Towers::Text].map(|one| (one == tower).then(section));
            return Sections { kind, root, image, text, is_nested: false };
        }
        let root = Section::new(Some(self.json.root()), &ROOT_KEYS, problems);
        match found {
            Some(Ok(found)) if kinds.both.contains(&found.as_str()) => {}
            Some(Ok(found)) => {
                let expected: Vec<String> = kinds.both.iter().map(|kind| format!("`{kind}`")).collect();
                let cause = format!(
                    "expected {}, found `{}`: this is another model",
                    expected.join(" or "),
                    shown(&found)
                );
                problems.add(&root, "model_type", cause);
            }
            Some(Err(error)) => problems.push(error.to_string()),
            None => problems.add(&root, "model_type", "it is missing"),
        }
        // Where the older key is there, transformers takes it, with defaults for what it leaves out.
        let mut section = |older: &str, newer: &str| {
            let at = root.value(older).or_else(|| root.value(newer));
            Section::new(at, &TOWER_KEYS, problems)
        };
        let image = (has != Towers::Text).then(|| section("vision_config_dict", "vision_config"));
        let text = (has != Towers::Image).then(|| section("text_config_dict", "text_config"));
        Sections { kind, root, image, text, is_nested: true }
    }
}

/// Values of `model_type` of a family of models.
pub(super) struct Kinds {
    /// Of models of two towers.
    pub(super) both: &'static [&'static str],
    /// Of image towers alone.
    pub(super) image: &'static [&'static str],
    /// Of text towers alone.
    pub(super) text: &'static [&'static str],
}

/// Objects of a `config.json`.
pub(super) struct Sections<'a> {
    /// The `model_type`.
    pub(super) kind: String,
    /// The file's own object; that of the tower where it describes one alone.
    pub(super) root: Section<'a>,
    /// That of the image tower, if the weights have it.
    pub(super) image: Option<Section<'a>>,
    /// That of the text tower, if the weights have it.
    pub(super) text: Option<Section<'a>>,
    /// Whether the towers' objects are inside the file's own.
    is_nested: bool,
}

impl Sections<'_> {
    /// The origins of the fields that the file decides; `more` are those that not all such models have.
    pub(super) fn origins(&self, more: &[(Field, &'static str, &'static str)]) -> Origins {
        let mut origins = Origins::default();
        for &(field, tower, key) in FIELDS.iter().chain(more) {
            let Some(section) = (if tower == "vision_config" { &self.image } else { &self.text }) else {
                continue;
            };
            let path = if self.is_nested { format!("{tower}.{key}") } else { key.to_owned() };
            let origin = match section.value(key) {
                Some(_) => Origin::key(CONFIG, path),
                None => {
                    Origin::Layout { why: format!("transformers' default: `{CONFIG}` leaves `{path}` out") }
                }
            };
            origins.set(field, origin);
        }
        origins
    }

    /// Whether the file describes one tower alone.
    pub(super) fn is_single(&self) -> bool {
        !(self.image.is_some() && self.text.is_some())
    }
}

/// Which towers of transformers a state dict has.
pub(super) fn towers_of(state_dict: &StateDict) -> Towers {
    let has = |prefix| has_prefix(state_dict, prefix);
    match (has("vision_model."), has("text_model.")) {
        (true, false) => Towers::Image,
        (false, true) => Towers::Text,
        _ => Towers::Both,
    }
}

/// The note on the tower that the weights do not have, whose config means nothing.
pub(super) fn absent(has: Towers) -> Option<String> {
    let other = match has {
        Towers::Both => return None,
        Towers::Image => Towers::Text,
        Towers::Text => Towers::Image,
    };
    Some(format!(
        "the weights have only {}; the config's entry for {} is a placeholder",
        has.shown(),
        other.shown()
    ))
}

/// Parses a JSON file of a folder.
pub(super) fn parse(file: &'static str, bytes: &[u8]) -> Result<Json, LayoutError> {
    let limits = JsonLimits { bytes: 1 << 20, depth: 16, values: 10_000, ..JsonLimits::CONFIG };
    Json::parse(bytes, limits).map_err(|cause: FormatError| LayoutError::Malformed { file, cause })
}

impl Tower {
    /// Reads the settings of both towers.
    pub(super) fn read(section: &Section<'_>, defaults: Defaults, problems: &mut Problems) -> Tower {
        let [width, mlp_width, layers, heads] = defaults.sizes;
        let tower = Tower {
            width: section.integer("hidden_size", width, 1..=limits::WIDTH, problems),
            mlp_width: section.integer("intermediate_size", mlp_width, 1..=limits::WIDTH * 64, problems),
            layers: section.integer("num_hidden_layers", layers, 1..=limits::LAYERS, problems),
            heads: section.integer("num_attention_heads", heads, 1..=limits::WIDTH, problems),
            activation: section.word("hidden_act", defaults.activation, &ACTIVATIONS, problems),
            epsilon: section.number("layer_norm_eps", defaults.epsilon, 0.0..=1.0, problems),
        };
        if !tower.width.is_multiple_of(tower.heads) {
            let cause = format!("{} does not divide `hidden_size` {}", tower.heads, tower.width);
            problems.add(section, "num_attention_heads", cause);
        }
        tower
    }

    /// Compares the settings of both towers with the weights.
    pub(super) fn compare(
        &self,
        section: &Section<'_>,
        prefix: &str,
        width: Option<usize>,
        weights: &Shapes<'_>,
        problems: &mut Problems,
    ) {
        problems.compare(section, "hidden_size", self.width, width);
        let blocks = format!("{prefix}.encoder.layers.");
        problems.compare(section, "num_hidden_layers", self.layers, weights.blocks(&blocks));
        let mlp = weights.length(&format!("{blocks}0.mlp.fc1.weight"), 0);
        problems.compare(section, "intermediate_size", self.mlp_width, mlp);
    }

    /// The settings that open_clip's own towers share.
    pub(super) fn config(&self) -> Map<String, Value> {
        let mut config = Map::new();
        config.insert("layers".into(), json!(self.layers));
        config.insert("width".into(), json!(self.width));
        if self.mlp_width != 4 * self.width {
            config.insert("mlp_ratio".into(), json!(mlp_ratio(self.width, self.mlp_width)));
        }
        if self.epsilon != EPSILON {
            config.insert("norm_kwargs".into(), json!({ "eps": self.epsilon }));
        }
        if self.activation == Activation::TanhGelu {
            config.insert("act_kwargs".into(), json!({ "approximate": "tanh" }));
        }
        config
    }
}

/// Height and width of images and patches.
pub(super) struct ImageSizes {
    pub(super) image: [usize; 2],
    pub(super) patch: [usize; 2],
}

impl ImageSizes {
    /// Reads them and compares them with the weights; `prefix` tokens come before the patch tokens.
    pub(super) fn read(
        section: &Section<'_>,
        default_patch: usize,
        prefix: usize,
        weights: &Shapes<'_>,
        problems: &mut Problems,
    ) -> ImageSizes {
        let image = section.sides("image_size", 224, limits::IMAGE_SIDE, problems);
        let patch = section.sides("patch_size", default_patch, limits::IMAGE_SIDE, problems);
        let channels = section.integer("num_channels", 3, 1..=limits::WIDTH, problems);
        if channels != 3 {
            problems.add(section, "num_channels", format!("found {channels}; open_clip's images have 3"));
        }
        let tokens = (image[0] / patch[0]) * (image[1] / patch[1]) + prefix;
        let rows = weights.length("vision_model.embeddings.position_embedding.weight", 0);
        if let Some(rows) = rows.filter(|rows| *rows != tokens) {
            let ([height, width], [patch_height, patch_width]) = (image, patch);
            let cause = format!(
                "{height}x{width} in patches of {patch_height}x{patch_width} are {tokens} tokens, but the weights \
                 have {rows}"
            );
            problems.add(section, "image_size", cause);
        }
        let patches = "vision_model.embeddings.patch_embedding.weight";
        let is_last = weights.state_dict.get(patches).is_some_and(|tensor| has_channels_last(&tensor.shape));
        for (index, side) in patch.into_iter().enumerate() {
            let found = weights.length(patches, if is_last { 1 } else { 2 } + index);
            problems.compare(section, "patch_size", side, found);
        }
        ImageSizes { image, patch }
    }
}

impl ImageSizes {
    /// Those at which a model of any proportions has as many patches as positions, in a square.
    pub(super) fn of_naflex(
        section: &Section<'_>,
        weights: &Shapes<'_>,
        problems: &mut Problems,
    ) -> ImageSizes {
        let patch = section.integer("patch_size", 16, 1..=limits::IMAGE_SIDE, problems);
        let patches = section.integer("num_patches", 256, 1..=limits::TOKENS, problems);
        let positions = weights.length("vision_model.embeddings.position_embedding.weight", 0);
        problems.compare(section, "num_patches", patches, positions);
        let values = weights.length("vision_model.embeddings.patch_embedding.weight", 1);
        let channels = section.integer("num_channels", 3, 1..=limits::WIDTH, problems);
        if let Some(values) = values.filter(|values| *values != channels * patch * patch) {
            let cause =
                format!("{patch} with {channels} channels, but a patch of the weights has {values} values");
            problems.add(section, "patch_size", cause);
        }
        let side = patches.isqrt();
        if side * side != patches {
            problems.add(section, "num_patches", format!("{patches}, which is no square"));
        }
        ImageSizes { image: [side * patch; 2], patch: [patch; 2] }
    }
}

/// Reads context length and vocabulary size, and compares them with the weights.
pub(super) fn text_sizes(
    section: &Section<'_>,
    [context, vocabulary]: [usize; 2],
    weights: &Shapes<'_>,
    problems: &mut Problems,
) -> [usize; 2] {
    let vocabulary = section.integer("vocab_size", vocabulary, 1..=limits::VOCABULARY, problems);
    let context = section.integer("max_position_embeddings", context, 1..=limits::TOKENS, problems);
    let tokens = "text_model.embeddings.token_embedding.weight";
    let positions = "text_model.embeddings.position_embedding.weight";
    problems.compare(section, "vocab_size", vocabulary, weights.length(tokens, 0));
    problems.compare(section, "max_position_embeddings", context, weights.length(positions, 0));
    [context, vocabulary]
}

/// A side, or height and width.
pub(super) fn sides([height, width]: [usize; 2]) -> Value {
    if height == width { json!(height) } else { json!([height, width]) }
}

/// Shapes of the existing weights.
pub(super) struct Shapes<'a> {
    pub(super) state_dict: &'a StateDict,
}

impl Shapes<'_> {
    /// Length of a dimension of a tensor.
    pub(super) fn length(&self, name: &str, dimension: usize) -> Option<usize> {
        self.state_dict.get(name).and_then(|tensor| tensor.shape.get(dimension).copied())
    }

    /// One more than the highest block index; the plan reports gaps.
    pub(super) fn blocks(&self, prefix: &str) -> Option<usize> {
        let number = |name: &str| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
        let highest = self.state_dict.tensors().iter().filter_map(|tensor| number(&tensor.name)).max();
        highest.and_then(|highest| highest.checked_add(1))
    }
}
