//! A folder that Hugging Face transformers loads, with whichever class can express the model.

use clipway_formats::Dtype;

use super::{SpellError, Spelled, Spelling, WeightsFormat, transformers_clip, transformers_siglip};
use crate::config::ConfigFile;
use crate::plan::PlannedTensor;

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: "transformers",
    title: TITLE,
    weights_name: |format| match format {
        WeightsFormat::Safetensors => ["model", "safetensors"],
        WeightsFormat::Pytorch => ["pytorch_model", "bin"],
        WeightsFormat::Onnx => ["model", "onnx"],
    },
    spell,
    is_open_clip: false,
    onnx: None,
    library: "transformers",
    usage: "from transformers import AutoModel, AutoProcessor\n\n\
            model = AutoModel.from_pretrained('PATH/TO/THIS/FOLDER')\n\
            processor = AutoProcessor.from_pretrained('PATH/TO/THIS/FOLDER')\n",
};

pub(super) const TITLE: &str = "Hugging Face transformers";

fn spell(config: &ConfigFile, tensors: &[PlannedTensor]) -> Result<Spelled, SpellError> {
    match config.model.vision.timm {
        Some(_) => transformers_siglip::spell(config, tensors),
        None => transformers_clip::spell(config, tensors),
    }
}

/// Name of a dtype in transformers' configs.
pub(super) fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::F64 => "float64",
        _ => "float32",
    }
}
