//! A graph whose sizes can be computed: its nodes, what is stored, and what the caller gives.

use clipway_formats::{FormatError, OnnxDim, OnnxFile, OnnxOperation, TensorFile};

use super::size::{OnnxLengths, Size};

/// The part of a file on which the sizes of its values depend.
#[derive(Clone, Debug)]
pub(in crate::onnx) struct SizeGraph {
    /// Nodes, in an order in which they can run.
    pub(super) nodes: Vec<OnnxOperation>,
    pub(super) stored: Vec<(String, Size)>,
    /// Inputs of the graph, with `None` for lengths that the caller chooses.
    pub(super) inputs: Vec<(String, Vec<Option<u64>>)>,
    pub(super) outputs: Vec<String>,
}

impl SizeGraph {
    /// Takes what matters of a file.
    ///
    /// # Errors
    /// Integers that cannot be read.
    pub(in crate::onnx) fn of(file: &OnnxFile) -> Result<SizeGraph, FormatError> {
        let stored = file.tensors().iter().enumerate().map(|(index, info)| {
            let size = Size::of(info.shape.iter().map(|length| *length as u64).collect());
            let size = Size { is_constant: true, ..size.with(file.integers(index)?) };
            Ok((info.name.clone(), size))
        });
        let interface = file.interface();
        let inputs = interface.inputs.iter().map(|port| {
            let dims = port.shape.iter().flatten().map(|dim| match dim {
                OnnxDim::Fixed(length) => Some(*length as u64),
                OnnxDim::Free(_) => None,
            });
            (port.name.clone(), dims.collect())
        });
        Ok(SizeGraph {
            nodes: file.operations().to_vec(),
            stored: stored.collect::<Result<_, FormatError>>()?,
            inputs: inputs.collect(),
            outputs: interface.outputs.iter().map(|port| port.name.clone()).collect(),
        })
    }
}

impl OnnxLengths {
    /// The dimensions of an input for one sample; the free ones are the lengths of pixels, or of tokens.
    pub(super) fn filled(self, dims: &[Option<u64>]) -> Vec<u64> {
        let [height, width] = self.image.map(|length| length as u64);
        let is_planar = matches!(dims, [_, Some(1 | 3), _, _]) || !matches!(dims, [_, _, _, Some(1 | 3)]);
        let usual: &[u64] = match dims.len() {
            4 if is_planar => &[1, 3, height, width],
            4 => &[1, height, width, 3],
            2 => &[1, self.context as u64],
            _ => &[],
        };
        let length =
            |(index, dim): (usize, &Option<u64>)| dim.unwrap_or(usual.get(index).copied().unwrap_or(1));
        dims.iter().enumerate().map(length).collect()
    }
}
