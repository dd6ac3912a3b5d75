//! clipway's own folder: open_clip's names and config, and weights that may be in int8.

use super::definition::OWN;
use super::{Spelling, WeightsFormat, open_clip};

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: OWN,
    title: "clipway",
    weights_name: |format| match format {
        WeightsFormat::Safetensors => ["clipway_model", "safetensors"],
        other => (open_clip::SPELLING.weights_name)(other),
    },
    spell: |config, tensors| (open_clip::SPELLING.spell)(config, tensors),
    is_open_clip: true,
    onnx: None,
    library: "clipway",
    usage: "import json, subprocess\n\n\
            command = ['clipway', 'embed', 'PATH/TO/THIS/FOLDER', 'image.jpg']\n\
            features = json.loads(subprocess.check_output(command))\n",
};
