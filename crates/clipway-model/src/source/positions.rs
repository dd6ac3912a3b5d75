//! Positions of timm's trunks that were saved for other images than the trunk's name says: fine-tuning with open_clip's
//! `force_image_size` saves them as timm has resampled them.

use clipway_formats::TensorInfo;

use crate::architecture::{Model, build};
use crate::config::ConfigFile;

const POSITIONS: &str = "visual.trunk.pos_embed";

/// What a user must know about such a model.
pub(super) const NOTE: &str = "the image tower's positions are stored for the config's size of images and not for that \
     of the trunk's name, as fine-tuning with `force_image_size` saves them";

/// The config and the model that say so, where the number of the stored positions does.
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
