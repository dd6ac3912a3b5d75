//! The tensors of several resolved sources as one file.

use std::collections::HashMap;
use std::sync::Arc;

use clipway_formats::{FileFormat, FormatError, Place, TensorFile, TensorInfo, reserve};

use crate::checkpoint::FileSource;
use crate::plan::apply_all;
use crate::source::Source;

/// Name of a tensor of source `part`, counted from 0.
pub(super) fn name_in(part: usize, name: &str) -> String {
    format!("{}/{name}", part + 1)
}

/// Index in its plan of each tensor that a source becomes.
pub(super) fn places(source: &Source) -> HashMap<&str, usize> {
    let tensors = source.plan().tensors.iter().enumerate();
    tensors.map(|(index, planned)| (planned.target.name.as_str(), index)).collect()
}

/// The tensors of several sources, each made by its source's plan when it is read.
pub(super) struct PartsFile {
    sources: Vec<Source>,
    tensors: Vec<TensorInfo>,
    /// Source and index in its plan of each tensor.
    places: Vec<(usize, usize)>,
}

impl PartsFile {
    /// Every tensor that the sources become.
    pub(super) fn new(sources: Vec<Source>) -> PartsFile {
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        for (part, source) in sources.iter().enumerate() {
            for (index, planned) in source.plan().tensors.iter().enumerate() {
                let name = name_in(part, &planned.target.name);
                tensors.push(TensorInfo { name, ..planned.target.clone() });
                places.push((part, index));
            }
        }
        PartsFile { sources, tensors, places }
    }

    /// Every file of the sources' weights, with the number of its source.
    pub(super) fn files(&self) -> Vec<(usize, Arc<FileSource>)> {
        let of = |(part, source): (usize, &Source)| {
            let files: Vec<_> = source.checkpoint().sources().iter().map(Arc::clone).collect();
            files.into_iter().map(move |file| (part + 1, file))
        };
        self.sources.iter().enumerate().flat_map(of).collect()
    }
}

impl TensorFile for PartsFile {
    fn format(&self) -> FileFormat {
        self.sources[0].checkpoint().format()
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let info = &self.tensors[index];
        out.clear();
        reserve(out, info.bytes(), || Place::Tensor(info.name.clone()))?;
        self.read_chunks(index, &mut |piece| out.extend_from_slice(piece))
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        let (part, place) = self.places[index];
        let source = &self.sources[part];
        apply_all(&source.plan().tensors[place], &source.weights().state_dict, sink)?;
        Ok(())
    }

    fn metadata(&self) -> &[(String, String)] {
        &[]
    }
}
