//! open_clip's own folder, which `local-dir:` loads.

use super::{Spelled, Spelling, WeightsFormat};
use crate::checkpoint::CONFIG_NAME;

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: "open_clip",
    title: "open_clip",
    weights_name: |format| match format {
        WeightsFormat::Safetensors => ["open_clip_model", "safetensors"],
        WeightsFormat::Pytorch => ["open_clip_pytorch_model", "bin"],
        WeightsFormat::Onnx => ["model", "onnx"],
    },
    spell: |config, tensors| {
        let text = config.model.to_config_file(&config.preprocess());
        Ok(Spelled { tensors: tensors.to_vec(), files: vec![(CONFIG_NAME, text)], ..Spelled::default() })
    },
    is_open_clip: true,
    onnx: None,
    library: "open_clip",
    usage: "import open_clip\n\n\
            model, preprocess = open_clip.create_model_from_pretrained('local-dir:PATH/TO/THIS/FOLDER')\n\
            tokenizer = open_clip.get_tokenizer('local-dir:PATH/TO/THIS/FOLDER')\n",
};
