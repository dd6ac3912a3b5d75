//! clipway's own folder: open_clip's names and config, and weights that may be in int8 and int4.

use super::definition::OWN;
use super::{SpellError, Spelled, Spelling, StoredWeights, Subject, WeightsFormat, open_clip};
use crate::config::PixelRule;
use crate::plan::Towers;

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: OWN,
    title: "clipway",
    weights: StoredWeights::StateDict(&[(WeightsFormat::Safetensors, ["clipway_model", "safetensors"])]),
    spell,
    is_open_clip: true,
    library: "clipway",
    usage: "import json, subprocess\n\n\
            command = ['clipway', 'embed', 'PATH/TO/THIS/FOLDER', 'image.jpg']\n\
            features = json.loads(subprocess.check_output(command))\n",
};

/// open_clip's names and config. That images keep their proportions, no config of open_clip says: `clipway.json` does.
fn spell(subject: &Subject<'_>) -> Result<Spelled, SpellError> {
    let rule = subject.config.preprocess().rule;
    if subject.towers == Towers::Text || rule.grids().is_none() {
        return (open_clip::SPELLING.spell)(subject);
    }
    let mut config = subject.config.clone();
    config.preprocess.rule = Some(PixelRule::OpenClip);
    let Subject { tensors, towers, precision, .. } = *subject;
    let spelled = (open_clip::SPELLING.spell)(&Subject { config: &config, tensors, towers, precision })?;
    Ok(Spelled { rule, ..spelled })
}
