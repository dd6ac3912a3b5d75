//! A folder that Hugging Face transformers loads, with whichever class can express the model.

use clipway_formats::Dtype;

use super::{Spelling, StoredWeights, Subject, WeightsFormat, transformers_clip, transformers_siglip};
use crate::config::TextPool;
use crate::plan::Towers;

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
    usage: "from transformers import AutoModel, AutoProcessor\n\n\
            model = AutoModel.from_pretrained('PATH/TO/THIS/FOLDER')\n\
            processor = AutoProcessor.from_pretrained('PATH/TO/THIS/FOLDER')\n",
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

/// Name of a dtype in transformers' configs.
pub(super) fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::F64 => "float64",
        _ => "float32",
    }
}
