//! Int8 weights packed for one path.

use super::MOST_INT8_INPUTS;
use super::path::Int8Path;
use crate::buffer::AlignedBuffer;
use crate::threads::Kernels;

/// A multiple of every path's group size.
const PADDING: usize = 4;

/// The int8 weights `W` of `y = x · Wᵀ`, with a scale per output, packed for one path.
///
/// A panel holds `[groups, vectors * lanes, group]`: the inputs of a group are adjacent.
pub struct PackedInt8 {
    path: Int8Path,
    inputs: usize,
    outputs: usize,
    data: AlignedBuffer<i8>,
    /// One per output, up to whole vectors.
    scales: Vec<f32>,
    /// What the input offset adds to each output's sum, up to whole vectors.
    corrections: Vec<i32>,
}

/// One panel: up to a panel's width of outputs.
#[derive(Clone, Copy)]
pub(super) struct Int8Panel<'a> {
    pub(super) data: &'a [i8],
    /// The first output.
    pub(super) column: usize,
    /// The number of outputs; the last vector may be partial.
    pub(super) columns: usize,
    pub(super) vectors: usize,
    /// One per output, up to whole vectors.
    pub(super) scales: &'a [f32],
    pub(super) corrections: &'a [i32],
    /// The data of the panel after it, or after the last of the first, which are mostly multiplied next.
    pub(super) next: &'a [i8],
}

impl PackedInt8 {
    /// Returns the length of a row of `x`.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the length of a row of `y`.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the bytes taken by the packed weights.
    pub fn bytes(&self) -> usize {
        self.data.len() + size_of_val(&self.scales[..]) + size_of_val(&self.corrections[..])
    }

    /// Returns the path that the weights are packed for.
    pub fn path(&self) -> Int8Path {
        self.path
    }

    /// Returns the number of inputs, trailing zeros included.
    pub(super) fn padded_inputs(&self) -> usize {
        self.inputs.next_multiple_of(PADDING)
    }

    /// Returns the number of panels.
    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(self.path.isa().panel_width())
    }

    /// Returns a panel.
    #[inline(always)]
    pub(super) fn panel(&self, index: usize) -> Int8Panel<'_> {
        let isa = self.path.isa();
        let outputs = isa.panel(index, self.outputs);
        let next = isa.panel((index + 1) % self.panels(), self.outputs);
        let padded = outputs.len().next_multiple_of(isa.lanes());
        Int8Panel {
            data: self.data(&outputs),
            column: outputs.start,
            columns: outputs.len(),
            vectors: padded / isa.lanes(),
            scales: &self.scales[outputs.start..][..padded],
            corrections: &self.corrections[outputs.start..][..padded],
            next: self.data(&next),
        }
    }

    /// The data of a panel with these outputs.
    #[inline(always)]
    fn data(&self, outputs: &std::ops::Range<usize>) -> &[i8] {
        let padded = outputs.len().next_multiple_of(self.path.isa().lanes());
        &self.data[outputs.start * self.padded_inputs()..][..self.padded_inputs() * padded]
    }
}

impl std::fmt::Debug for PackedInt8 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, inputs, outputs, .. } = self;
        write!(formatter, "PackedInt8({path:?}, [{outputs}, {inputs}])")
    }
}

/// Packs int8 weights output by output.
#[derive(Debug)]
pub struct PackedInt8Builder {
    matrix: PackedInt8,
}

impl Kernels {
    /// Starts packing the int8 weights of a linear layer.
    ///
    /// # Panics
    /// If there are more than [`MOST_INT8_INPUTS`] inputs.
    pub fn int8_builder(&self, outputs: usize, inputs: usize) -> PackedInt8Builder {
        assert!(inputs <= MOST_INT8_INPUTS, "sums of {inputs} products may not fit 32 bits");
        let path = self.int8_path();
        let padded = outputs.next_multiple_of(path.isa().lanes());
        let len = padded.checked_mul(inputs.next_multiple_of(PADDING));
        let data = AlignedBuffer::zeroed(len.expect("the weights fit the address space"));
        let (scales, corrections) = (Vec::with_capacity(outputs), Vec::with_capacity(outputs));
        PackedInt8Builder { matrix: PackedInt8 { path, inputs, outputs, data, scales, corrections } }
    }
}

impl PackedInt8Builder {
    /// Adds the weights of the next output, to be multiplied by `scale`.
    ///
    /// # Panics
    /// If the number of weights is not `inputs`, or all outputs have already been added.
    pub fn push(&mut self, weights: &[i8], scale: f32) {
        let matrix = &mut self.matrix;
        assert_eq!(weights.len(), matrix.inputs, "a weight for each input");
        assert!(matrix.scales.len() < matrix.outputs, "the weight has {} outputs", matrix.outputs);
        let isa = matrix.path.isa();
        let group = matrix.path.group();
        let output = matrix.scales.len();
        let first = output - output % isa.panel_width();
        let width = isa.panel_width().min(matrix.outputs - first).next_multiple_of(isa.lanes());
        let start = first * matrix.padded_inputs() + (output - first) * group;
        let mut sum = 0;
        for (index, values) in weights.chunks(group).enumerate() {
            matrix.data[start + index * width * group..][..values.len()].copy_from_slice(values);
            sum += values.iter().map(|value| i32::from(*value)).sum::<i32>();
        }
        matrix.scales.push(scale);
        matrix.corrections.push(sum.wrapping_mul(matrix.path.offset()));
    }

    /// Returns the packed weights.
    ///
    /// # Panics
    /// If outputs are missing.
    pub fn finish(self) -> PackedInt8 {
        let mut matrix = self.matrix;
        assert_eq!(matrix.scales.len(), matrix.outputs, "every output of the weight was pushed");
        let padded = matrix.outputs.next_multiple_of(matrix.path.isa().lanes());
        matrix.scales.resize(padded, 0.0);
        matrix.corrections.resize(padded, 0);
        matrix
    }
}
