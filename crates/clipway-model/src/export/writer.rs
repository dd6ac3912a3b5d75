//! The seam of the export: what writes a folder's weights, be they a state dict or graphs.

use clipway_formats::TensorInfo;

use super::{ExportError, TokenizerParts};
use crate::output::Staging;
use crate::spelling::WeightsFormat;

/// Writes the weights of a folder.
pub(super) trait Writer: Sync {
    /// Writes the weights in one format.
    fn write(&self, staging: &Staging, format: WeightsFormat) -> Result<WrittenFiles, ExportError>;

    /// Reads the files back and compares every name, dtype, shape and hash.
    fn read_back(&self, staging: &Staging, written: &WrittenFiles) -> Result<(), ExportError>;

    /// The small files that depend on what was written, and the tokenizer's where they belong.
    fn files(
        &self,
        tokenizer: &TokenizerParts,
        written: &[WrittenFiles],
    ) -> Result<Vec<(String, Vec<u8>)>, ExportError>;
}

/// Result of writing a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenTensor {
    pub(super) sha256: String,
    pub(super) overflowed: usize,
}

/// A graph that was written.
pub(super) struct WrittenGraph {
    /// Its file.
    pub(super) path: String,
    /// Its tensors, and the hash of each.
    pub(super) tensors: Vec<(TensorInfo, String)>,
    /// What it says of itself.
    pub(super) metadata: Vec<(String, String)>,
}

/// The files of one format, and the location of each tensor.
pub(super) struct WrittenFiles {
    pub(super) format: WeightsFormat,
    /// Names of the weight files, in order.
    pub(super) names: Vec<String>,
    /// The index, if there are several files.
    pub(super) index: Option<(String, String)>,
    /// For each planned tensor, in order; none where weights are in graphs.
    pub(super) tensors: Vec<WrittenTensor>,
    /// The graphs, where weights are in graphs.
    pub(super) graphs: Vec<WrittenGraph>,
}

impl WrittenFiles {
    /// Of a format, before anything is written.
    pub(super) fn new(format: WeightsFormat) -> WrittenFiles {
        WrittenFiles { format, names: Vec::new(), index: None, tensors: Vec::new(), graphs: Vec::new() }
    }
}
