//! Weights packed for the matrix product: panels of columns, each stored row after row.

use crate::bf16::Bf16Path;
use crate::buffer::{AlignedBuffer, Plain, bytes};
use crate::isa::{Isa, Widen};
use crate::threads::Kernels;
use half::bf16;
use half::slice::HalfFloatSliceExt;

/// Columns of the widest panel, AVX-512's.
const MAX_PANEL: usize = 48;

/// How a weight matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[outputs, inputs]`, like a linear layer's weight.
    OutIn,
    /// `[inputs, outputs]`, like a projection on the right of a product.
    InOut,
}

/// The element type of a stored weight, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl Element {
    /// Returns the bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
        }
    }

    /// Decodes elements into the same number of values.
    fn decode(self, bytes: &[u8], values: &mut [f32]) {
        let elements = bytes.chunks_exact(self.bytes());
        match self {
            Element::F32 => {
                for (value, bytes) in values.iter_mut().zip(elements) {
                    *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
            }
            Element::F16 => {
                // Sixty-four at a time, so that the processor can convert them together.
                let mut halves = [half::f16::ZERO; 64];
                for (values, bytes) in values.chunks_mut(64).zip(bytes.chunks(128)) {
                    let halves = &mut halves[..values.len()];
                    for (half, bytes) in halves.iter_mut().zip(bytes.chunks_exact(2)) {
                        *half = half::f16::from_le_bytes([bytes[0], bytes[1]]);
                    }
                    halves.convert_to_f32_slice(values);
                }
            }
            Element::Bf16 => {
                for (value, bytes) in values.iter_mut().zip(elements) {
                    *value = half::bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
                }
            }
        }
    }
}

/// The element type of packed weights: f32, or bf16, multiplied as a [`Bf16Path`] says.
#[allow(private_bounds)]
pub trait PanelElement: Plain + Widen {
    /// Rounds to the nearest value, ties to even.
    fn round(value: f32) -> Self;

    /// Returns how products with these weights are computed, given how those in bf16 are.
    fn path(bf16: Bf16Path) -> Bf16Path;
}

impl PanelElement for f32 {
    #[inline(always)]
    fn round(value: f32) -> f32 {
        value
    }

    fn path(_: Bf16Path) -> Bf16Path {
        Bf16Path::Widening
    }
}

impl PanelElement for bf16 {
    #[inline(always)]
    fn round(value: f32) -> bf16 {
        bf16::from_f32(value)
    }

    fn path(bf16: Bf16Path) -> Bf16Path {
        bf16
    }
}

/// The weights `W` of `y = x · Wᵀ`, packed for one instruction set.
pub struct PackedMatrix<E: PanelElement = f32> {
    isa: Isa,
    path: Bf16Path,
    inputs: usize,
    outputs: usize,
    data: AlignedBuffer<E>,
}

/// One panel: up to `panel_width` columns, `[groups of inputs, vectors * lanes, inputs of a group]`.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a, E> {
    pub(crate) data: &'a [E],
    /// The first output.
    pub(crate) column: usize,
    /// The number of outputs; the last vector may be partial.
    pub(crate) columns: usize,
    /// Vectors per row.
    pub(crate) vectors: usize,
    /// The bytes of the panel after it, or after the last of the first, which are mostly multiplied next.
    pub(crate) next: &'a [u8],
}

impl<E: PanelElement> PackedMatrix<E> {
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
        self.data.len() * size_of::<E>()
    }

    /// Returns the instruction set that the weights are packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns how products with the weights are computed.
    pub(crate) fn path(&self) -> Bf16Path {
        self.path
    }

    /// Returns the number of inputs, up to whole groups.
    pub(crate) fn padded_inputs(&self) -> usize {
        self.inputs.next_multiple_of(self.path.group())
    }

    /// Returns the number of panels.
    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(self.isa.panel_width())
    }

    /// Returns a panel.
    #[inline(always)]
    pub(crate) fn panel(&self, index: usize) -> Panel<'_, E> {
        let outputs = self.isa.panel(index, self.outputs);
        let next = self.isa.panel((index + 1) % self.panels(), self.outputs);
        Panel {
            data: self.data(&outputs),
            column: outputs.start,
            columns: outputs.len(),
            vectors: outputs.len().div_ceil(self.isa.lanes()),
            next: bytes(self.data(&next)),
        }
    }

    /// The data of a panel with these outputs.
    #[inline(always)]
    fn data(&self, outputs: &std::ops::Range<usize>) -> &[E] {
        let padded = outputs.len().next_multiple_of(self.isa.lanes());
        &self.data[outputs.start * self.padded_inputs()..][..self.padded_inputs() * padded]
    }
}

impl<E: PanelElement> std::fmt::Debug for PackedMatrix<E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { isa, inputs, outputs, .. } = self;
        write!(formatter, "PackedMatrix({isa}, [{outputs}, {inputs}])")
    }
}

impl Kernels {
    /// Packs the weights of a linear layer.
    ///
    /// # Panics
    /// If `weight` does not hold `outputs * inputs` values.
    pub fn pack_linear<E: PanelElement>(
        &self,
        weight: &[f32],
        outputs: usize,
        inputs: usize,
        layout: WeightLayout,
    ) -> PackedMatrix<E> {
        let mut builder = self.linear_builder(outputs, inputs, layout);
        builder.push(weight);
        builder.finish()
    }

    /// Starts packing the weights of a linear layer that arrive in pieces.
    pub fn linear_builder<E: PanelElement>(
        &self,
        outputs: usize,
        inputs: usize,
        layout: WeightLayout,
    ) -> PackedMatrixBuilder<E> {
        let padded = outputs.next_multiple_of(self.isa().lanes());
        let (isa, path) = (self.isa(), E::path(self.bf16_path()));
        let len = padded.checked_mul(inputs.next_multiple_of(path.group()));
        let data = AlignedBuffer::zeroed(len.expect("the weights fit the address space"));
        let matrix = PackedMatrix { isa, path, inputs, outputs, data };
        PackedMatrixBuilder { kernels: self.clone(), matrix, layout, rows: 0 }
    }
}

/// Packs weights piece by piece, so that they are never held twice.
#[derive(Debug)]
pub struct PackedMatrixBuilder<E: PanelElement = f32> {
    kernels: Kernels,
    matrix: PackedMatrix<E>,
    layout: WeightLayout,
    /// Stored rows so far.
    rows: usize,
}

impl<E: PanelElement> PackedMatrixBuilder<E> {
    /// Adds the next rows of the weight, as stored.
    ///
    /// # Panics
    /// If the values are not whole rows, or exceed the matrix.
    pub fn push(&mut self, rows: &[f32]) {
        self.push_with(rows.len(), &|start, values| values.copy_from_slice(&rows[start..][..values.len()]));
    }

    /// Adds the next rows of the weight from their stored little-endian bytes; no alignment is needed.
    ///
    /// # Panics
    /// If the bytes are not whole rows, or exceed the matrix.
    pub fn push_bytes(&mut self, rows: &[u8], element: Element) {
        let size = element.bytes();
        assert!(rows.len().is_multiple_of(size), "bytes are whole elements");
        self.push_with(rows.len() / size, &|start, values| {
            element.decode(&rows[start * size..][..values.len() * size], values);
        });
    }

    /// Returns the packed weights.
    ///
    /// # Panics
    /// If rows are missing.
    pub fn finish(self) -> PackedMatrix<E> {
        assert_eq!(self.rows, self.stored_rows(), "every row of the weight was pushed");
        self.matrix
    }

    fn stored_rows(&self) -> usize {
        match self.layout {
            WeightLayout::OutIn => self.matrix.outputs,
            WeightLayout::InOut => self.matrix.inputs,
        }
    }

    /// Adds rows with `len` values in total, read by a function that takes the index of its first value.
    pub(crate) fn push_with(&mut self, len: usize, read: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        let width = match self.layout {
            WeightLayout::OutIn => self.matrix.inputs,
            WeightLayout::InOut => self.matrix.outputs,
        };
        if len == 0 {
            self.rows = if width == 0 { self.stored_rows() } else { self.rows };
            return;
        }
        assert!(width > 0 && len.is_multiple_of(width), "{len} values are whole rows of {width}");
        let first = self.rows;
        let count = len / width;
        assert!(count <= self.stored_rows() - first, "the weight has {} rows", self.stored_rows());
        self.rows += count;
        let padded_inputs = self.matrix.padded_inputs();
        let PackedMatrix { isa, path, inputs, outputs, ref mut data } = self.matrix;
        let group = path.group();
        let panel_width = isa.panel_width();
        let panels = data.chunks_mut(panel_width * padded_inputs);
        let layout = self.layout;
        self.kernels.parallel_parts(panels, 8 * len, |index, panel| {
            let of_panel = isa.panel(index, outputs);
            let (column, columns) = (of_panel.start, of_panel.len());
            let row_width = panel.len() / padded_inputs;
            // The place of an input of the panel's first output.
            let place_of = |input: usize| (input - input % group) * row_width + input % group;
            match layout {
                WeightLayout::OutIn => {
                    let rows = first.max(column)..(first + count).min(column + columns);
                    // In pieces, so that the written lines stay in the first-level cache.
                    let mut piece = [0.0; 128];
                    for start in (0..inputs).step_by(piece.len()) {
                        let piece = &mut piece[..(inputs - start).min(128)];
                        for row in rows.clone() {
                            read((row - first) * inputs + start, piece);
                            for first in 0..group.min(piece.len()) {
                                let place = place_of(start + first) + (row - column) * group;
                                let places = panel[place..].iter_mut().step_by(row_width * group);
                                let values = piece[first..].iter().step_by(group);
                                places.zip(values).for_each(|(place, value)| *place = E::round(*value));
                            }
                        }
                    }
                }
                WeightLayout::InOut => {
                    let mut piece = [0.0; MAX_PANEL];
                    let piece = &mut piece[..columns];
                    for row in 0..count {
                        read(row * outputs + column, piece);
                        let places = panel[place_of(first + row)..].iter_mut().step_by(group);
                        places.zip(&*piece).for_each(|(place, &value)| *place = E::round(value));
                    }
                }
            }
        });
    }
}
