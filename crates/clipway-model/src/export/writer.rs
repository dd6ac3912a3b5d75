//! The seam of the export: what writes a folder's weights, be they a state dict or graphs.

use std::collections::BTreeMap;
use std::sync::Arc;

use clipway_formats::OnnxGraph;

use super::{ExportError, TokenizerParts};
use crate::artifact::FileHash;
use crate::output::{StagedFile, Staging};
use crate::spelling::WeightsFormat;

/// Writes the weights of a folder.
pub(super) trait Writer: Sync {
    /// Writes the weights in one format.
    fn write(&self, staging: &Staging, format: WeightsFormat) -> Result<WrittenFiles, ExportError>;

    /// Writes what depends on the hashes of the source's files, by their names.
    fn finish(
        &self,
        _written: &mut WrittenFiles,
        _source_files: &BTreeMap<String, FileHash>,
    ) -> Result<(), ExportError> {
        Ok(())
    }

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
    /// The same, open.
    pub(super) file: Arc<StagedFile>,
    /// The name of its external data beside it, if there is any.
    pub(super) external: Option<String>,
    /// The graph.
    pub(super) graph: OnnxGraph,
    /// The hash of each tensor.
    pub(super) hashes: Vec<String>,
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
