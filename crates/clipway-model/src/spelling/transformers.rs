//! A folder that Hugging Face transformers loads, with whichever class can express the model.

use clipway_formats::Dtype;
use serde_json::{Map, Value, json};

use super::{Spelling, StoredWeights, Subject, WeightsFormat, transformers_clip, transformers_siglip};
use crate::config::TextPool;
use crate::plan::{PlannedTensor, Towers};

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: "transformers",
    title: TITLE,
    weights: StoredWeights::StateDict(&[(WeightsFormat::Safetensors, ["model", "safetensors"])]),
    spell: |subject| match is_siglip(subject) {
        true => transformers_siglip::spell(subject),
        false => transformers_clip::spell(subject),
    },
    is_open_clip: false,
    library: "transformers",
    usage: "from PIL import Image\n\
            from transformers import AutoModel, AutoProcessor\n\n\
            model = AutoModel.from_pretrained('PATH/TO/THIS/FOLDER')\n\
            processor = AutoProcessor.from_pretrained('PATH/TO/THIS/FOLDER')\n\
            texts = ['a photo of a cat', 'a photo of a dog']\n\
            inputs = processor(text=texts, images=Image.open('image.jpg'), padding='max_length', return_tensors='pt')\n\
            print(model(**inputs).logits_per_image)\n",
};

/// Whether a model is one of SigLIP's kind. A text tower alone shows it by its pooling.
fn is_siglip(subject: &Subject<'_>) -> bool {
    let model = &subject.config.model;
    match subject.towers {
        Towers::Text => model.text.pool == TextPool::Last,
        Towers::Both | Towers::Image => model.vision.timm.is_some(),
    }
}

pub(super) const TITLE: &str = "Hugging Face transformers";

/// Name in transformers' configs of the dtype of a model's numbers.
pub(super) fn dtype_name(tensors: &[PlannedTensor]) -> &'static str {
    match tensors.iter().map(|planned| planned.target.dtype).find(|dtype| dtype.is_float()) {
        Some(Dtype::F16) => "float16",
        Some(Dtype::BF16) => "bfloat16",
        Some(Dtype::F64) => "float64",
        _ => "float32",
    }
}

/// What the blocks of a tower are made of, in transformers' configs.
pub(super) struct Blocks {
    pub(super) width: usize,
    pub(super) mlp_width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) activation: &'static str,
    pub(super) epsilon: f64,
}

impl Blocks {
    /// A tower's object in a config: its keys, with `before` and `between` where transformers has them.
    fn config(&self, kind: &str, before: &[(&str, usize)], between: &[(&str, usize)]) -> Map<String, Value> {
        let sizes = [
            ("hidden_size", self.width),
            ("intermediate_size", self.mlp_width),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
        ];
        let numbers = before.iter().chain(&sizes).chain(between);
        let mut config = Map::new();
        config.insert("model_type".into(), json!(kind));
        config.extend(numbers.map(|(key, number)| ((*key).to_owned(), json!(number))));
        config.insert("hidden_act".into(), json!(self.activation));
        config.insert("layer_norm_eps".into(), json!(self.epsilon));
        config
    }

    /// An image tower's object in a config.
    pub(super) fn vision_config(&self, kind: &str, image_size: usize, patch: usize) -> Map<String, Value> {
        self.config(kind, &[], &[("num_channels", 3), ("image_size", image_size), ("patch_size", patch)])
    }

    /// A text tower's object in a config.
    pub(super) fn text_config(&self, kind: &str, vocabulary: usize, positions: usize) -> Map<String, Value> {
        self.config(kind, &[("vocab_size", vocabulary), ("max_position_embeddings", positions)], &[])
    }
}

/// The `config.json` of a tower alone: its object, with its class.
pub(super) fn alone(mut tower: Map<String, Value>, class: &str, dtype: &str) -> Value {
    tower.insert("architectures".into(), json!([class]));
    tower.insert("dtype".into(), json!(dtype));
    Value::Object(tower)
}
