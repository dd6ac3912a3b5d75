//! Images that keep their proportions, for towers that take any (NaFlex).

use clipway_formats::{Code, FormatError, Place};

use super::error::SourceError;
use crate::architecture::Model;
use crate::config::{ConfigFile, PatchGrids, PixelRule, limits};
use crate::graph::Operation;

/// The pixel rule of a source whose images keep their proportions: with as many patches as were asked for, else as an
/// artifact states it. `None` if neither says so.
///
/// # Errors
/// A tower with one size of images, and more patches than a side can have.
pub(super) fn rule(
    config: &ConfigFile,
    model: &Model,
    asked: Option<usize>,
    stated: Option<&PixelRule>,
) -> Result<Option<PixelRule>, SourceError> {
    let stated_most = stated.and_then(PixelRule::grids).map(|grids| grids.most);
    let Some(most) = asked.or(stated_most) else { return Ok(None) };
    let grids = PatchGrids { side: side(config, model, most)?, most };
    let own = config.preprocess().rule;
    Ok(Some(stated.unwrap_or(&own).with_grids(grids)))
}

/// The side of a tower's patches, of which an image may have `most`.
fn side(config: &ConfigFile, model: &Model, most: usize) -> Result<usize, SourceError> {
    let refuse = |code, cause| SourceError::Change {
        change: "number of patches",
        cause: FormatError::new(code, Place::Json("$.vision_cfg".to_owned()), cause),
    };
    let side = model.image.nodes.iter().find_map(|node| match node.operation {
        Operation::Patches { size: [side, _] } => Some(side),
        _ => None,
    });
    let is_naflex = config.model.vision.timm.as_ref().is_some_and(|timm| timm.is_naflex());
    let Some(side) = side.filter(|_| is_naflex) else {
        let cause =
            "its images have one size; only NaFlex towers, timm's `naflexvit_…`, take any proportions";
        return Err(refuse(Code::Unsupported, cause.to_owned()));
    };
    let limit = limits::IMAGE_SIDE / side;
    if !(1..=limit).contains(&most) {
        let cause = format!("expected 1 to {limit} patches of {side} pixels, found {most}");
        return Err(refuse(Code::BadValue, cause));
    }
    Ok(side)
}
