//! Images that keep their proportions, for towers that take any (NaFlex).

use clipway_formats::{Code, FormatError, Place};

use super::error::SourceError;
use crate::architecture::Model;
use crate::config::{ConfigFile, PatchGrids, PixelRule, limits};
use crate::graph::Operation;

/// What was asked for.
pub(super) struct Asked {
    /// Maximum number of patches.
    pub(super) most: Option<usize>,
    /// Whether images have one size, whatever the source's own library does.
    pub(super) one_size: bool,
    /// Whether settings of open_clip replace the rule; they do not replace the number of patches.
    pub(super) replaces_rule: bool,
}

/// The pixel rule of a source. Its images keep their proportions with as many patches as were asked for, else as an
/// artifact states, else as the source's own library has it, unless one size was asked for. `stated` is the artifact's rule,
/// and the library's.
///
/// # Errors
/// A tower with one size of images, and more patches than a side can have.
pub(super) fn rule(
    config: &ConfigFile,
    model: &Model,
    asked: &Asked,
    [stated, own]: [Option<&PixelRule>; 2],
) -> Result<Option<PixelRule>, SourceError> {
    let rule = config.preprocess.rule.clone();
    let most_of = |rule: &PixelRule| rule.grids().map(|grids| grids.most);
    let own = own.filter(|_| !asked.one_size).and_then(most_of);
    let Some(most) = asked.most.or(stated.and_then(most_of)).or(own) else {
        return Ok(rule.map(|rule| rule.with_size(config.model.vision.image_size)));
    };
    let grids = PatchGrids { side: side(config, model, most)?, most };
    let stated = stated.cloned().filter(|_| !asked.replaces_rule);
    Ok(Some(stated.or(rule).unwrap_or_default().with_grids(grids)))
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
