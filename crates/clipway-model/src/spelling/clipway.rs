//! clipway's own folder: open_clip's names and config, and weights that may be in int8.

use super::definition::OWN;
use super::{Spelling, StoredWeights, WeightsFormat, open_clip};

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: OWN,
    title: "clipway",
    weights: StoredWeights::StateDict(&[(WeightsFormat::Safetensors, ["clipway_model", "safetensors"])]),
    spell: |subject| (open_clip::SPELLING.spell)(subject),
    is_open_clip: true,
    library: "clipway",
    usage: "import json, subprocess\n\n\
            command = ['clipway', 'embed', 'PATH/TO/THIS/FOLDER', 'image.jpg']\n\
            features = json.loads(subprocess.check_output(command))\n",
};
