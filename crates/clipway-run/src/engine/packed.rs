//! The weights of products, packed in the precision that these are computed in, from the precision that they are stored
//! in: rows pass through a small buffer, so that no weight is held whole in f32 on its way.

use clipway_kernels::{
    Epilogue, Kernels, MOST_INT8_INPUTS, Matrix as Rows, MatrixMut, PackedConv, PackedInt8, PackedMatrix,
    PanelElement, WeightLayout as Packing, quantize_weights,
};
use clipway_model::graph::WeightLayout;
use clipway_model::plan::Integers;
use half::bf16;

use super::compute::Compute;
use super::error::{EngineError, WeightError};
use super::loader::{Loader, kernel_window};
use super::recipe::{Block, Matrix};
use super::shape::Window;
use super::weights::Elements;

/// Values that are widened together: about what a second-level cache holds beside the panel.
const PIECE: usize = 1 << 16;

/// Packed weights.
pub(super) enum Packed {
    F32(PackedMatrix),
    Bf16(PackedMatrix<bf16>),
    Int8(PackedInt8),
}

impl Packed {
    /// Writes `epilogue(x · Wᵀ)` to `out`.
    pub fn multiply(&self, kernels: &Kernels, x: Rows<'_>, epilogue: Epilogue<'_>, out: MatrixMut<'_>) {
        match self {
            Packed::F32(weight) => kernels.linear(x, weight, epilogue, out),
            Packed::Bf16(weight) => kernels.linear(x, weight, epilogue, out),
            Packed::Int8(weight) => kernels.linear_int8(x, weight, epilogue, out),
        }
    }
}

impl Block {
    /// Whether its rows are rows of the parameter, each with a factor at most.
    fn is_rows(&self) -> bool {
        self.layout == WeightLayout::OutIn && self.addends.is_empty()
    }
}

impl Loader<'_> {
    /// Packs a matrix for the precision of the engine.
    pub fn packed(&self, matrix: &Matrix) -> Result<Packed, EngineError> {
        match self.compute {
            Compute::Bf16 => self.panels(matrix).map(Packed::Bf16),
            _ if self.takes_int8(matrix) => self.int8(matrix).map(Packed::Int8),
            _ => self.panels(matrix).map(Packed::F32),
        }
    }

    /// Packs the filters of a convolution: in bf16 or int8 where the precision of the engine says so and a filter sees more
    /// than one channel, else in f32.
    pub fn conv(&self, filters: &Matrix, window: Window, groups: usize) -> Result<PackedConv, EngineError> {
        let spec = kernel_window(window);
        let inputs = filters.inputs;
        let own_channels = inputs / window.kernel.iter().product::<usize>();
        let channels = own_channels * groups;
        if own_channels > 1 && self.takes_int8(filters) {
            let (mut values, mut scales) = (Vec::with_capacity(filters.outputs() * inputs), Vec::new());
            self.int8_rows(filters, &mut |row, scale| {
                values.extend_from_slice(row);
                scales.push(scale);
            })?;
            return Ok(self.kernels.pack_conv2d_int8(&values, &scales, channels, groups, spec));
        }
        let outputs = filters.outputs();
        let pack = |rows: &[f32]| match self.compute {
            Compute::Bf16 => self.kernels.pack_conv2d::<bf16>(rows, outputs, channels, groups, spec),
            _ => self.kernels.pack_conv2d::<f32>(rows, outputs, channels, groups, spec),
        };
        match filters.blocks.as_slice() {
            [block] => self.rows(block, inputs, pack),
            blocks => {
                let mut all = Vec::new();
                for block in blocks {
                    self.rows(block, inputs, |rows| all.extend_from_slice(rows))?;
                }
                Ok(pack(&all))
            }
        }
    }

    /// Whether a product is computed in int8.
    pub fn takes_int8(&self, matrix: &Matrix) -> bool {
        let stored = || matrix.blocks.iter().all(|block| block.is_rows() && self.is_int8(block.parameter));
        matrix.inputs <= MOST_INT8_INPUTS
            && match self.compute {
                Compute::AsStored => stored(),
                Compute::Int8 => true,
                Compute::F32 | Compute::Bf16 => false,
            }
    }

    /// Packs a matrix into panels of f32 or bf16.
    fn panels<E: PanelElement>(&self, matrix: &Matrix) -> Result<PackedMatrix<E>, EngineError> {
        let (outputs, inputs) = (matrix.outputs(), matrix.inputs);
        if let [block @ Block { layout: WeightLayout::InOut, .. }] = matrix.blocks.as_slice()
            && self.parameters.get(block.parameter).elements() == outputs * inputs
        {
            let factors = block.factors.as_ref().map(|factors| self.vector(factors)).transpose()?;
            let mut builder = self.kernels.linear_builder(outputs, inputs, Packing::InOut);
            self.stored_rows(block, 0..inputs, outputs, &mut |rows, _| {
                if let Some(factors) = &factors {
                    for row in rows.chunks_exact_mut(outputs) {
                        row.iter_mut().zip(factors).for_each(|(v, f)| *v = (f64::from(*v) * f) as f32);
                    }
                }
                builder.push(rows);
            })?;
            return Ok(builder.finish());
        }
        let mut builder = self.kernels.linear_builder(outputs, inputs, Packing::OutIn);
        for block in &matrix.blocks {
            self.float_rows(block, inputs, &mut |rows| builder.push(rows))?;
        }
        Ok(builder.finish())
    }

    /// Packs a matrix in int8, output by output.
    fn int8(&self, matrix: &Matrix) -> Result<PackedInt8, EngineError> {
        let mut builder = self.kernels.int8_builder(matrix.outputs(), matrix.inputs);
        self.int8_rows(matrix, &mut |row, scale| builder.push(row, scale))?;
        Ok(builder.finish())
    }

    /// Hands the outputs of a matrix to `sink` in int8, each with its scale: as they are stored where they are int8 and
    /// a factor goes into the scale, else quantized. Numbers that are not finite have no int8 and are refused.
    pub fn int8_rows(&self, matrix: &Matrix, sink: &mut dyn FnMut(&[i8], f32)) -> Result<(), EngineError> {
        let inputs = matrix.inputs;
        let mut quantized = vec![0; inputs];
        for block in &matrix.blocks {
            if block.is_rows() && self.is_int8(block.parameter) {
                self.stored_int8(block, inputs, sink)?;
                continue;
            }
            let mut finite = true;
            self.float_rows(block, inputs, &mut |rows| {
                for row in rows.chunks_exact(inputs.max(1)) {
                    match quantize_weights(row, &mut quantized) {
                        Some(scale) => sink(&quantized, scale),
                        None => finite = false,
                    }
                }
            })?;
            if !finite {
                let name = self.parameters.get(block.parameter).name.clone();
                let cause = WeightError::NotFinite { integers: Integers::Int8 };
                return Err(EngineError::Weight { name, cause });
            }
        }
        Ok(())
    }

    /// Hands the outputs of a block that is stored in int8 to `sink`.
    fn stored_int8(
        &self,
        block: &Block,
        inputs: usize,
        sink: &mut dyn FnMut(&[i8], f32),
    ) -> Result<(), EngineError> {
        let factors = block.factors.as_ref().map(|factors| self.vector(factors)).transpose()?;
        self.stream(block.parameter, &mut |start, piece| {
            let Elements::Int8 { values, scales } = piece else { return };
            let rows = values.chunks_exact(inputs.max(1)).zip(scales);
            for (output, (row, scale)) in (start / inputs.max(1)..).zip(rows) {
                if block.outputs.contains(&output) {
                    let factor =
                        factors.as_ref().map_or(1.0, |factors| factors[output - block.outputs.start]);
                    sink(row, (f64::from(*scale) * factor) as f32);
                }
            }
        })
    }

    /// Hands the outputs of a block to `sink` in f32, some rows at a time, with their factors applied.
    pub fn float_rows(
        &self,
        block: &Block,
        inputs: usize,
        sink: &mut dyn FnMut(&[f32]),
    ) -> Result<(), EngineError> {
        if !block.is_rows() {
            return self.rows(block, inputs, sink);
        }
        let factors = block.factors.as_ref().map(|factors| self.vector(factors)).transpose()?;
        self.stored_rows(block, block.outputs.clone(), inputs, &mut |rows, first| {
            if let Some(factors) = &factors {
                let factors = &factors[first - block.outputs.start..];
                for (row, factor) in rows.chunks_exact_mut(inputs).zip(factors) {
                    row.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
                }
            }
            sink(rows);
        })
    }

    /// Hands rows `range`, of `width` values, of a block's parameter to `sink` in f32, some at a time, with the index of
    /// the first.
    fn stored_rows(
        &self,
        block: &Block,
        range: std::ops::Range<usize>,
        width: usize,
        sink: &mut dyn FnMut(&mut [f32], usize),
    ) -> Result<(), EngineError> {
        let wanted = range.start * width..range.end * width;
        let piece_len = (PIECE / width.max(1)).max(1) * width;
        let (mut rows, mut first) = (Vec::with_capacity(piece_len), range.start);
        self.stream(block.parameter, &mut |start, piece| {
            let mut next = wanted.start.max(start);
            let end = wanted.end.min(start + piece.len());
            while next < end {
                let count = (end - next).min(piece_len - rows.len());
                piece.widen(next - start..next - start + count, &mut rows);
                next += count;
                if rows.len() == piece_len || next == wanted.end {
                    sink(&mut rows, first);
                    first += rows.len() / width;
                    rows.clear();
                }
            }
        })
    }
}
