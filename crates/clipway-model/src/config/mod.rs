//! Configs of open_clip 3.3.0, strictly typed: every key of open_clip is known, any other is an error.
//!
//! A config is read from a bare model config (`{"embed_dim": …}`) or from an `open_clip_config.json` (`{"model_cfg": …,
//! "preprocess_cfg": …}`), checked completely, and written back with its original keys.

mod block;
mod check;
mod document;
mod fields;
pub mod limits;
mod image_processor;
mod modern_text;
mod patch_grids;
mod preprocess;
pub(crate) mod section;
mod text;
pub mod text_model;
mod tokenizer;
mod vision;
mod write;

pub use block::{ActivationConfig, BlockConfig, BlockKind, NormConfig};
pub use image_processor::{
    Backend, ImageProcessor, Normalize, OpenClipDifference, PixelRule, Resample, Resize, ResizeTo,
};
pub use modern_text::{ModernMlp, ModernTextConfig};
pub use patch_grids::PatchGrids;
pub use preprocess::{Interpolation, PreprocessConfig, PreprocessOptions, ResizeMode};
pub(crate) use text::{BEGIN_KEY, END_KEY, PADDING_KEY};
pub use text::{
    HuggingFaceConfig, MultimodalConfig, RepMixerConfig, TextConfig, TextPool, TextPooler, TextProjection,
};
pub use tokenizer::{Encoding, HuggingFaceOptions, TiktokenConfig, TokenizerConfig, TokenizerSource};
pub(crate) use vision::is_naflex;
pub use vision::{
    AttentionalPool, GridTable, PositionalEmbedding, TimmChanges, TimmConfig, TimmProjection, VisionConfig,
    VisionLayers, VisionPool,
};

use clipway_formats::{Code, FormatError, Json, JsonCursor, JsonLimits, JsonValue, Place};

use fields::Fields;
use text_model::TextModel;

use crate::contract::Clean;

/// A model of open_clip: a JSON object and the values read from it.
///
/// The object is the single source of truth. Its [values](ModelValues) are read as fields, such as `config.embed_dim`,
/// and change only through methods that change the object and parse it again, so [`crate::architecture::build`] and
/// [`ModelConfig::to_json`] always agree:
///
/// ```compile_fail
/// # let json = br#"{"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}"#;
/// let mut config = clipway_model::config::ModelConfig::parse(json).unwrap();
/// config.embed_dim = 256; // not possible
/// ```
///
/// ```
/// # let json = br#"{"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}"#;
/// let mut config = clipway_model::config::ModelConfig::parse(json).unwrap();
/// config.set_embed_dim(256).unwrap();
/// assert_eq!(config.embed_dim, 256);
/// assert!(config.to_json().contains("\"embed_dim\": 256"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The parsed values.
    values: ModelValues,
    /// The object.
    document: Json,
    /// Whether the state dict holds folded convolutions instead of the branches they were trained as. open_clip has no
    /// such key: a config file stores it beside `model_cfg`.
    pub folded: bool,
    /// The text model described by a file beside the weights.
    text_model: Option<TextModel>,
}

/// The values of a [`ModelConfig`], defaults included.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelValues {
    /// Width of the embedding shared by images and texts.
    pub embed_dim: usize,
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
    /// CoCa's decoder.
    pub multimodal: Option<MultimodalConfig>,
    /// Whether open_clip's own towers use QuickGELU instead of GELU.
    pub quick_gelu: bool,
    /// Whether the text tower is its own module, `text.…`, in the state dict.
    pub custom_text: bool,
    /// Initial value of the logit scale's logarithm.
    pub init_logit_scale: f64,
    /// Initial value of the logit bias; `None` for no bias.
    pub init_logit_bias: Option<f64>,
    /// Whether logit scale and bias have shape `[1]` instead of `[]`.
    pub nonscalar_logit_scale: bool,
    /// Whether the model returns a dictionary; no effect here.
    pub output_dict: bool,
}

impl std::ops::Deref for ModelConfig {
    type Target = ModelValues;

    fn deref(&self) -> &ModelValues {
        &self.values
    }
}

/// A config file: the model, and its preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigFile {
    /// The model.
    pub model: ModelConfig,
    /// Preprocessing settings; a bare model config has none.
    pub preprocess: PreprocessOptions,
}

/// Keys of a model config.
const MODEL_KEYS: [&str; 11] = [
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "multimodal_cfg",
    "quick_gelu",
    "custom_text",
    "init_logit_scale",
    "init_logit_bias",
    "nonscalar_logit_scale",
    "output_dict",
    "pad_id",
];

/// Keys of sections that open_clip has had since 3.3.0 and that change no feature of the models here: the number of
/// patches of images of any proportions, and batches of texts that are not padded. They are read and not written.
const WITHOUT_EFFECT: [(&str, &str); 5] = [
    ("vision_cfg", vision::IMAGE_TOKENS_KEY),
    ("text_cfg", text::VARIABLE_KEY),
    ("text_cfg", text::ARCHITECTURE_KEY),
    ("text_cfg", text::BEGIN_KEY),
    ("text_cfg", text::CHANGES_KEY),
];

/// Sections of a model config that open_clip has had since 3.3.0, with the models that they make.
const OTHER_MODELS: [(&str, &str); 4] = [
    ("audio_cfg", "a CLAP, which compares audio and texts"),
    ("genlip_cfg", "a GenLIP, which writes texts"),
    ("genlap_cfg", "a GenLAP, which writes texts"),
    ("audio_naflex_cfg", "a model of audio"),
];

/// Key in a config file for [`ModelConfig::folded`]; open_clip ignores it.
const FOLDED_KEY: &str = "folded";

/// Keys of an `open_clip_config.json`: the two that open_clip reads, ours, and those that other libraries add and
/// open_clip ignores.
const FILE_KEYS: [&str; 16] = [
    "model_cfg",
    "preprocess_cfg",
    FOLDED_KEY,
    "_commit_hash",
    "_name_or_path",
    "architecture",
    "architectures",
    "auto_map",
    "dtype",
    "library_name",
    "license",
    "model_type",
    "tags",
    "torch_dtype",
    "transformers_version",
    "transformers.js_config",
];

impl ConfigFile {
    /// Reads a config file, at most 1 MiB of JSON.
    ///
    /// # Errors
    /// Malformed JSON, an unknown key (with the nearest known one), a value of the wrong type or out of range, or
    /// contradictory values, each with the path of the value.
    pub fn parse(bytes: &[u8]) -> Result<ConfigFile, FormatError> {
        let limits = JsonLimits {
            bytes: limits::FILE_BYTES as usize,
            depth: 16,
            values: 10_000,
            ..JsonLimits::CONFIG
        };
        let json = Json::parse(bytes, limits)?;
        let root = json.root();
        if root.get("model_cfg")?.is_none() {
            if root.get("embed_dim")?.is_none() && root.get("vision_cfg")?.is_none() {
                let cause = "found neither `model_cfg` nor `embed_dim`: not an open_clip config";
                return Err(root.error(Code::Missing, cause));
            }
            let model = ModelConfig::read(root, &json)?;
            return Ok(ConfigFile { model, preprocess: PreprocessOptions::default() });
        }
        let fields = Fields::new(root, &FILE_KEYS)?;
        let at = fields.required("model_cfg")?;
        let document = Json { offset: 0, value: at.value().clone() };
        let mut model = ModelConfig::read(at, &document)?;
        model.folded = fields.boolean(FOLDED_KEY, false)?;
        let preprocess = match fields.value("preprocess_cfg")? {
            Some(value) => PreprocessOptions::read(value)?,
            None => PreprocessOptions::default(),
        };
        Ok(ConfigFile { model, preprocess })
    }

    /// The preprocessing that open_clip would use: its defaults overridden by the file, at the tower's size.
    pub fn preprocess(&self) -> PreprocessConfig {
        PreprocessConfig::new(self.model.vision.image_size).merged(&self.preprocess)
    }
}

impl ModelConfig {
    /// Reads a bare model config; see [`ConfigFile::parse`].
    ///
    /// # Errors
    /// As [`ConfigFile::parse`].
    pub fn parse(bytes: &[u8]) -> Result<ModelConfig, FormatError> {
        ConfigFile::parse(bytes).map(|file| file.model)
    }

    /// Reads a model config from a document.
    pub(crate) fn from_document(document: &Json) -> Result<ModelConfig, FormatError> {
        ModelConfig::read(document.root(), document)
    }

    fn read(at: JsonCursor<'_>, document: &Json) -> Result<ModelConfig, FormatError> {
        let path = at.path().to_owned();
        for (key, model) in OTHER_MODELS {
            if let Some(section) = at.get(key)? {
                return Err(
                    section.error(Code::Unsupported, format!("this is {model}; only CLIP is supported"))
                );
            }
        }
        let fields = Fields::new(at, &MODEL_KEYS)?;
        let quick_gelu = fields.boolean("quick_gelu", false)?;
        // CLIP's initial temperature is 0.07.
        let init_logit_scale = fields.number("init_logit_scale", (1.0f64 / 0.07).ln(), -1e6..=1e6)?;
        let multimodal = match fields.value("multimodal_cfg")? {
            Some(value) => Some(MultimodalConfig::read(value, quick_gelu)?),
            None => None,
        };
        fields.integer("pad_id", 0, 0..=limits::VOCABULARY)?;
        let values = ModelValues {
            embed_dim: fields.required("embed_dim")?.integer(1, limits::WIDTH)?,
            vision: VisionConfig::read(fields.required("vision_cfg")?, quick_gelu)?,
            text: TextConfig::read(fields.required("text_cfg")?, quick_gelu)?,
            multimodal,
            quick_gelu,
            custom_text: fields.boolean("custom_text", false)?,
            init_logit_scale,
            init_logit_bias: fields.optional_number("init_logit_bias")?,
            nonscalar_logit_scale: fields.boolean("nonscalar_logit_scale", false)?,
            output_dict: fields.boolean("output_dict", false)?,
        };
        let config = ModelConfig { values, document: document.clone(), folded: false, text_model: None };
        config.check_at(&path)?;
        Ok(config)
    }

    /// Checks that the values are consistent: heads divide widths, patches fit into images, no option excludes another.
    ///
    /// # Errors
    /// `Code::BadValue` with the path of the value.
    pub fn check(&self) -> Result<(), FormatError> {
        self.check_at("$")
    }

    /// Whether the text tower is not open_clip's first one: it is from Hugging Face, or ModernText.
    pub(crate) fn uses_other_text_tower(&self) -> bool {
        self.text.hugging_face.is_some() || self.text.modern.is_some()
    }

    /// Whether the text tower's tensors are under `text.`: stated by the config, or the tower is from Hugging Face, or
    /// ModernText.
    pub fn uses_custom_text(&self) -> bool {
        self.custom_text || self.uses_other_text_tower()
    }

    /// The text model described by a file beside the weights, if it differs from the named one.
    pub fn text_model(&self) -> Option<&TextModel> {
        self.text_model.as_ref()
    }

    /// Sets the text model to use for the config's Hugging Face name.
    pub fn set_text_model(&mut self, model: TextModel) {
        self.text_model = Some(model);
    }

    /// Keys of the config that open_clip 3.3.0 does not know, so it cannot build the model.
    pub fn beyond_open_clip(&self) -> Vec<String> {
        let rep_mixer = self.text.rep_mixer.as_ref().map(|_| format!("text_cfg.{}", text::REP_MIXER_KEY));
        let tokenizer = &self.text.tokenizer;
        let tiktoken = tokenizer.tiktoken.map(|_| format!("text_cfg.{}", tokenizer::TIKTOKEN_KEYS[0]));
        let is_new = tokenizer.cleaning == Some(Clean::WhitespaceUnderscore);
        let cleaning = is_new.then(|| "text_cfg.tokenizer_kwargs.clean: whitespace_underscore".to_owned());
        let changed = self.vision.timm.as_ref().filter(|timm| timm.changes != TimmChanges::default());
        let changes = changed.map(|_| format!("vision_cfg.{}", vision::TIMM_CHANGES_KEY));
        rep_mixer.into_iter().chain(tiktoken).chain(cleaning).chain(changes).collect()
    }

    /// The kind of text model that open_clip 3.3.0 has no tower for, while its main branch has one.
    pub fn newer_text_model(&self) -> Option<&'static str> {
        if self.text.modern.is_some() {
            return Some("ModernText");
        }
        let tower = self.text.hugging_face.as_ref()?;
        let family = match &self.text_model {
            Some(model) => model.family,
            None => text_model::known(&tower.model_name).ok()?.family,
        };
        matches!(family, text_model::Family::ModernBert(_)).then(|| family.name())
    }

    /// Whether the config states the activation instead of leaving it to the default.
    pub fn states_quick_gelu(&self) -> bool {
        matches!(&self.document.value, JsonValue::Object(members)
            if members.iter().any(|(key, _)| key == "quick_gelu"))
    }
}

fn bad(path: &str, key: &str, cause: String) -> FormatError {
    FormatError::new(Code::BadValue, Place::Json(format!("{path}.{key}")), cause)
}
