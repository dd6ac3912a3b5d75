//! A folder that Hugging Face transformers loads, with whichever class can express the model.

use clipway_formats::Dtype;

use super::{Spelling, StoredWeights, WeightsFormat, transformers_clip, transformers_siglip};

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: "transformers",
    title: TITLE,
    weights: StoredWeights::StateDict(&[(WeightsFormat::Safetensors, ["model", "safetensors"])]),
    spell: |subject| {
        subject.both_towers(TITLE)?;
        match subject.config.model.vision.timm {
            Some(_) => transformers_siglip::spell(subject.config, subject.tensors),
            None => transformers_clip::spell(subject.config, subject.tensors),
        }
    },
    is_open_clip: false,
    library: "transformers",
    usage: "from transformers import AutoModel, AutoProcessor\n\n\
            model = AutoModel.from_pretrained('PATH/TO/THIS/FOLDER')\n\
            processor = AutoProcessor.from_pretrained('PATH/TO/THIS/FOLDER')\n",
};

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
