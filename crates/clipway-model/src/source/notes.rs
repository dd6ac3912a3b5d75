//! What a user must know about a source.

use clipway_formats::FileFormat;

use super::SourceOptions;
use crate::checkpoint::{CONFIG_NAME, Checkpoint};
use crate::state_dict::{Weights, WeightsChoice};

/// What a user must know about the files of a source and the weights that were taken.
pub(super) fn about(checkpoint: &Checkpoint, weights: &Weights, options: &SourceOptions) -> Vec<String> {
    let mut notes = Vec::new();
    if weights.has_both && options.weights.is_none() {
        notes.push(
            "the checkpoint also holds EMA weights; the raw ones were taken, as open_clip does".to_owned(),
        );
    }
    if weights.choice == WeightsChoice::Ema && options.weights.is_none() {
        notes.push("the checkpoint holds EMA weights only; they were taken".to_owned());
    }
    if options.model.is_some() && checkpoint.config().is_some() {
        notes.push(format!("`{CONFIG_NAME}` beside the weights was not used, because the model was given"));
    }
    let dangerous = checkpoint.dangerous_globals();
    if !dangerous.is_empty() {
        notes.push(format!(
            "the pickle names functions that run code where it is executed, which was not done here: {}",
            dangerous.join(", ")
        ));
    }
    let is_archive = matches!(checkpoint.format(), FileFormat::PytorchZip | FileFormat::TorchScript);
    if is_archive && !checkpoint.writer().has_checksums {
        notes.push(
            "the source was written without checksums: a bit that flipped in it is not seen".to_owned(),
        );
    }
    notes
}
