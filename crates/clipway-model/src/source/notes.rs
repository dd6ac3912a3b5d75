//! What a user should know about a source.

use clipway_formats::FileFormat;

use super::SourceOptions;
use crate::checkpoint::{CONFIG_NAME, Checkpoint};
use crate::config::{ConfigFile, PatchGrids, TimmConfig};
use crate::state_dict::{Weights, WeightsChoice};

/// Notes on the files of a source and the selected weights.
pub(super) fn about(checkpoint: &Checkpoint, weights: &Weights, options: &SourceOptions) -> Vec<String> {
    let mut notes: Vec<String> = checkpoint.merged_note().map(str::to_owned).into_iter().collect();
    if weights.has_both && options.selection.choice.is_none() {
        notes.push(match weights.choice {
            WeightsChoice::Raw => {
                "the checkpoint also has EMA weights; the raw ones were used, as in open_clip".to_owned()
            }
            WeightsChoice::Ema => {
                "the averaged weights were used, as in Lightning; the checkpoint also has raw ones".to_owned()
            }
        });
    }
    if weights.choice == WeightsChoice::Ema && !weights.has_both && options.selection.choice.is_none() {
        notes.push("the checkpoint has only EMA weights; they were used".to_owned());
    }
    if options.model.is_some() && checkpoint.config().is_some() {
        notes.push(format!("`{CONFIG_NAME}` beside the weights was ignored, because the model was given"));
    }
    let dangerous = checkpoint.dangerous_globals();
    if !dangerous.is_empty() {
        notes.push(format!(
            "the pickle names functions that would run code; clipway did not execute it: {}",
            dangerous.join(", ")
        ));
    }
    let is_archive = matches!(checkpoint.format(), FileFormat::PytorchZip | FileFormat::TorchScript);
    if is_archive && !checkpoint.writer().has_checksums {
        notes.push("the source has no checksums: flipped bits in it go unnoticed".to_owned());
    }
    notes
}

/// The note on an image tower for any proportions: the sizes that it has here.
pub(super) fn of_any_proportions(config: &ConfigFile) -> Option<String> {
    let is_naflex = config.model.vision.timm.as_ref().is_some_and(TimmConfig::is_naflex);
    let [height, width] = config.model.vision.image_size;
    is_naflex.then(|| match config.preprocess().rule.grids() {
        Some(PatchGrids { side, most }) => {
            format!("images keep their proportions, in at most {most} patches of {side}x{side} pixels")
        }
        None => format!(
            "the model accepts any aspect ratio; here it has the fixed size {height}x{width}, to which every image is \
             squashed or cropped, so only square images get the features that its own library gives, unless a \
             number of patches is asked for"
        ),
    })
}
