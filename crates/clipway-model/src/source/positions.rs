//! Positions of timm trunks saved for another image size than the trunk's name implies: fine-tuning with open_clip's
//! `force_image_size` saves them as resampled by timm.

use clipway_formats::TensorInfo;

use crate::architecture::{Model, build};
use crate::config::ConfigFile;

const POSITIONS: &str = "visual.trunk.pos_embed";

/// The note on such a model.
pub(super) const NOTE: &str = "the image tower's positions are stored for the config's image size and not for that \
     of the trunk's name, as fine-tuning with `force_image_size` saves them";

/// The config and model for the stored positions, if their number shows another size.
pub(super) fn saved_for_its_images(
    config: &ConfigFile,
    model: &Model,
    infos: &[TensorInfo],
) -> Option<(ConfigFile, Model)> {
    model.changed_from?;
    let found = infos.iter().find(|info| info.name == POSITIONS)?;
    let needed =
        |model: &Model| model.parameters.find(POSITIONS).map(|id| model.parameters.get(id).shape.clone());
    if needed(model)? == found.shape {
        return None;
    }
    let mut config = config.clone();
    config.model.set_trunk_image_size(model.image_size).ok()?;
    let model = build(&config.model).ok()?;
    (needed(&model)? == found.shape).then_some((config, model))
}
