//! The folders that programs load ONNX models from: names of files, inputs and outputs.

use clipway_formats::{Dtype, OnnxExternal};
use serde_json::{Value, json};

use super::heads::Classifier;
use super::int8::Int8;
use super::options::{OnnxOptions, OnnxPrecision, PixelInput, TextPadding};
use crate::config::ConfigFile;
use crate::contract::{Clean, TokenizerKind, TokenizerRules};
use crate::plan::Towers;

/// The end token of CLIP's byte-pair encoding.
const CLIP_END: i64 = 49407;

/// A folder of ONNX models as one program loads it.
#[derive(Debug)]
pub struct Profile {
    /// Name of the layout.
    pub name: &'static str,
    /// The image tower's file, below the folder, without `.onnx`.
    image: &'static str,
    /// The text tower's.
    text: &'static str,
    /// The file of both towers, where the program loads one.
    pub combined: Option<&'static str>,
    /// The file of the image tower with the logits of labels.
    pub classifier: Option<&'static str>,
    /// Names of the inputs: pixels, ids.
    inputs: [&'static str; 2],
    /// Dtype of token ids.
    ids: Dtype,
    /// Whether texts may be shorter than the context.
    free_length: bool,
    /// Whether the program pads texts with the token that the tokenizer's files name.
    pads_by_files: bool,
    /// Whether features have the length 1 where nothing else is said.
    normalize: bool,
    /// Number of samples, where the program knows one alone.
    batch: Option<usize>,
    /// What follows the name of a model file in that of its external data.
    external: &'static str,
    /// Whether there always is external data.
    always_external: bool,
    /// Whether files of another precision have other names.
    suffixed: bool,
    /// Where the tokenizer's files stand, with a `/` at the end.
    pub tokenizer_folder: &'static str,
    /// Names of the outputs: images, texts.
    outputs: fn(&ConfigFile) -> [&'static str; 2],
    /// The files beside the models, except the tokenizer's.
    files: fn(&Facts<'_>) -> Vec<(&'static str, Value)>,
}

/// What the user says of the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxSettings {
    /// Number of samples, where it is to be fixed.
    pub batch: Option<usize>,
    /// Whether features have the length 1; the program's own habit where it is not said.
    pub normalize: Option<bool>,
    /// Whether images come as bytes that the graph normalizes.
    pub bytes: bool,
    /// Whether the output of each block is an output too.
    pub blocks: bool,
    /// Whether weights stand in a file beside each graph even where they would fit into it.
    pub external: bool,
    /// Whether a graph of both towers is written too.
    pub combined: bool,
    /// The labels of a zero-shot classifier, with their features.
    pub classifier: Option<Classifier>,
    /// What is stored in int8, if anything.
    pub int8: Option<Int8>,
}

/// What the files beside the models say.
pub struct Facts<'a> {
    /// The config.
    pub config: &'a ConfigFile,
    /// How texts become ids, where it is known.
    pub rules: Option<&'a TokenizerRules>,
    /// Factor of the cosines: the exponential of the stored logarithm.
    pub logit_scale: f32,
    /// Added then.
    pub logit_bias: Option<f32>,
    /// Names of the model files that have external data.
    pub external: Vec<String>,
}

/// One model file.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// Its path below the folder.
    pub path: String,
    /// Name of its external data, beside it.
    pub external: String,
    /// What is in it.
    pub content: FileContent,
    /// How it is written; of both towers the image tower.
    pub options: OnnxOptions,
}

/// What is in a model file.
#[derive(Clone, Debug, PartialEq)]
pub enum FileContent {
    /// The image tower.
    Image,
    /// The text tower.
    Text,
    /// Both with the logits of all pairs; how the text tower is written.
    Both(Box<OnnxOptions>),
    /// The image tower and the logits of labels.
    Classifier(Box<Classifier>),
}

impl FileContent {
    /// Name in the file's metadata.
    pub fn name(&self) -> &'static str {
        match self {
            FileContent::Image => "visual",
            FileContent::Text => "text",
            FileContent::Both(_) => "both",
            FileContent::Classifier(_) => "classifier",
        }
    }
}

impl ModelFile {
    /// The same with what padding becomes in its text tower.
    pub fn with_padding(mut self, padding: Option<TextPadding>) -> ModelFile {
        match &mut self.content {
            FileContent::Text => self.options.padding = padding,
            FileContent::Both(text) => text.padding = padding,
            FileContent::Image | FileContent::Classifier(_) => {}
        }
        self
    }

    /// Whether its features have the length 1.
    pub fn is_normalized(&self) -> bool {
        self.options.normalize || !matches!(self.content, FileContent::Image | FileContent::Text)
    }
}

/// A folder of clipway's own, which open_clip_inference loads too.
pub static OWN: Profile = Profile {
    name: "onnx",
    image: "visual",
    text: "text",
    combined: None,
    classifier: Some("classifier"),
    inputs: ["pixel_values", "input_ids"],
    ids: Dtype::I64,
    free_length: false,
    pads_by_files: false,
    normalize: true,
    batch: None,
    external: ".data",
    always_external: true,
    suffixed: false,
    tokenizer_folder: "",
    outputs: |_| ["image_embeddings", "text_embeddings"],
    files: |facts| {
        let Facts { config, rules, logit_scale, logit_bias, .. } = facts;
        let open_clip = config.model.to_config_file(&config.preprocess());
        let lowers = rules
            .is_some_and(|rules| matches!(rules.clean, Clean::Lower | Clean::Canonicalize | Clean::Siglip));
        let model = json!({
            "logit_scale": logit_scale,
            "logit_bias": logit_bias,
            "activation_function": if logit_bias.is_some() { "sigmoid" } else { "softmax" },
            "tokenizer_needs_lowercase": lowers,
            "pad_id": pad_id(*rules),
            "vocab_size": config.model.text.vocab_size,
        });
        vec![("open_clip_config.json", parsed(&open_clip)), ("model_config.json", model)]
    },
};

/// immich's folder of a model.
pub static IMMICH: Profile = Profile {
    name: "onnx-immich",
    image: "visual/model",
    text: "textual/model",
    classifier: None,
    inputs: ["image", "text"],
    ids: Dtype::I32,
    batch: Some(1),
    pads_by_files: true,
    tokenizer_folder: "textual/",
    always_external: false,
    outputs: |_| ["embedding"; 2],
    files: |facts| {
        let whole = parsed(&facts.config.model.to_config_file(&facts.config.preprocess()));
        let part = |key: &str| whole.get(key).cloned().unwrap_or_default();
        vec![("config.json", part("model_cfg")), ("visual/preprocess_cfg.json", part("preprocess_cfg"))]
    },
    ..OWN
};

/// The folder of transformers.js, optimum and fastembed.
pub static TRANSFORMERS: Profile = Profile {
    name: "onnx-transformers",
    image: "onnx/vision_model",
    text: "onnx/text_model",
    combined: Some("onnx/model"),
    classifier: Some("onnx/classifier"),
    free_length: true,
    pads_by_files: true,
    normalize: false,
    external: "_data",
    always_external: false,
    suffixed: true,
    outputs: |config| match is_siglip(config) {
        true => ["pooler_output"; 2],
        false => ["image_embeds", "text_embeds"],
    },
    files: |facts| {
        let config = facts.config;
        let kind = if is_siglip(config) { "siglip" } else { "clip" };
        let mut document = json!({
            "architectures": [if is_siglip(config) { "SiglipModel" } else { "CLIPModel" }],
            "model_type": kind,
            "projection_dim": config.model.embed_dim,
            "pad_token_id": pad_id(facts.rules),
            "text_config": {
                "model_type": format!("{kind}_text_model"),
                "max_position_embeddings": config.model.text.context_length,
                "vocab_size": config.model.text.vocab_size,
                "projection_dim": config.model.embed_dim,
                "pad_token_id": pad_id(facts.rules),
            },
            "vision_config": {
                "model_type": format!("{kind}_vision_model"),
                "image_size": config.model.vision.image_size[0],
                "projection_dim": config.model.embed_dim,
            },
        });
        if !facts.external.is_empty() {
            let counts = facts.external.iter().map(|name| (name.clone(), json!(1))).collect();
            document["transformers.js_config"] = json!({ "use_external_data_format": Value::Object(counts) });
        }
        vec![("config.json", document)]
    },
    ..OWN
};

/// Whether a model is called as SigLIP's are: by a sigmoid of biased logits.
pub fn is_siglip(config: &ConfigFile) -> bool {
    config.model.init_logit_bias.is_some()
}

impl Profile {
    /// The files beside the models, except the tokenizer's, as JSON.
    pub fn files(&self, facts: &Facts<'_>) -> Vec<(&'static str, String)> {
        (self.files)(facts).into_iter().map(|(name, document)| (name, format!("{document:#}\n"))).collect()
    }

    /// The graphs of a folder.
    pub fn model_files(
        &self,
        towers: Towers,
        config: &ConfigFile,
        precision: OnnxPrecision,
        settings: &OnnxSettings,
    ) -> Vec<ModelFile> {
        let options = |tower: usize| self.options(tower, config, precision, settings);
        let mut files = Vec::new();
        if towers != Towers::Text {
            files.push(self.file(self.image, FileContent::Image, options(0)));
        }
        if towers != Towers::Image {
            files.push(self.file(self.text, FileContent::Text, options(1)));
        }
        if let (true, Some(path), Towers::Both) = (settings.combined, self.combined, towers) {
            let named = |tower: usize, name: &str| OnnxOptions {
                batch_name: name.to_owned(),
                blocks: false,
                ..options(tower)
            };
            let text = Box::new(named(1, "text_batch_size"));
            files.push(self.file(path, FileContent::Both(text), named(0, "image_batch_size")));
        }
        if let (Some(classifier), Some(path)) = (&settings.classifier, self.classifier)
            && towers != Towers::Text
        {
            let content = FileContent::Classifier(Box::new(classifier.clone()));
            files.push(self.file(path, content, options(0)));
        }
        files
    }

    fn file(&self, path: &str, content: FileContent, options: OnnxOptions) -> ModelFile {
        let suffix = match options.precision {
            _ if !self.suffixed => "",
            // transformers.js calls int8 of any kind so, and takes it first in browsers.
            _ if options.int8.is_some() => "_quantized",
            OnnxPrecision::F16 => "_fp16",
            OnnxPrecision::F32 => "",
        };
        let path = format!("{path}{suffix}.onnx");
        let name = path.rsplit('/').next().unwrap_or(&path);
        ModelFile { external: format!("{name}{}", self.external), path, content, options }
    }

    /// How the image tower (0) or the text tower (1) is written.
    fn options(
        &self,
        tower: usize,
        config: &ConfigFile,
        precision: OnnxPrecision,
        settings: &OnnxSettings,
    ) -> OnnxOptions {
        let preprocess = config.preprocess();
        OnnxOptions {
            input: self.inputs[tower].to_owned(),
            output: (self.outputs)(config)[tower].to_owned(),
            batch_name: "batch_size".to_owned(),
            batch: settings.batch.or(self.batch),
            free_length: self.free_length && settings.batch.is_none(),
            padding: None,
            ids: self.ids,
            precision,
            int8: settings.int8.clone(),
            normalize: settings.normalize.unwrap_or(self.normalize),
            blocks: settings.blocks,
            pixels: match settings.bytes {
                true => PixelInput::Bytes { mean: preprocess.mean, std: preprocess.std },
                false => PixelInput::Normalized,
            },
        }
    }

    /// What padding becomes in the text graphs of a model with this tokenizer. CLIP's pads with 0, and its files name the
    /// end token.
    pub fn padding(&self, tokenizer: Option<&TokenizerKind>) -> Option<TextPadding> {
        let is_clip = matches!(tokenizer, Some(TokenizerKind::ClipBpe {}));
        (is_clip && self.pads_by_files).then_some(TextPadding { end: CLIP_END, id: 0 })
    }

    /// Where the elements of a model file stand.
    pub fn external<'a>(&self, file: &'a ModelFile, settings: &OnnxSettings) -> OnnxExternal<'a> {
        match self.always_external || settings.external {
            true => OnnxExternal::Always(&file.external),
            false => OnnxExternal::WhereNeeded(&file.external),
        }
    }
}

/// The id that texts are padded with.
fn pad_id(rules: Option<&TokenizerRules>) -> u32 {
    match rules.map(|rules| &rules.kind) {
        Some(TokenizerKind::TokenizerJson(rules)) => rules.pad_id,
        Some(TokenizerKind::ClipBpe {}) | None => 0,
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
