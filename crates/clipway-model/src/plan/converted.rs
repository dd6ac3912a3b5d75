//! The result of converting a state dict from its layout.

use clipway_formats::TensorInfo;

use super::{DroppedTensor, PlannedTensor};

/// The tensors of a state dict under open_clip's names, not yet matched to a config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Converted {
    /// The tensors, possibly changed by steps; dtypes are the source's.
    pub tensors: Vec<PlannedTensor>,
    /// Tensors that exist in no open_clip model.
    pub dropped: Vec<DroppedTensor>,
}

impl Converted {
    /// Names, dtypes and shapes after the conversion.
    pub fn infos(&self) -> Vec<TensorInfo> {
        self.tensors.iter().map(|planned| planned.target.clone()).collect()
    }
}
