//! The source of an engine's numbers.

use clipway_formats::Dtype;
use clipway_model::state_dict::cast_to_f32;

use super::error::WeightError;

/// Named tensors in the precision in which they are stored, read from many threads at once.
pub trait Weights: Sync {
    /// Hands the elements of tensor `name` to `sink`, row-major, in one piece or more.
    ///
    /// `shape` is what the architecture needs; an implementation compares it with its own before it reads anything.
    ///
    /// # Errors
    /// No such tensor, another shape, not numbers that a weight can be, or a failed read.
    fn read(
        &self,
        name: &str,
        shape: &[usize],
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError>;

    /// Whether the tensor is stored in int8 with scales; then all of its pieces are [`Elements::Int8`].
    fn is_int8(&self, _name: &str) -> bool {
        false
    }
}

/// Some elements of a tensor, as they are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elements<'a> {
    /// Numbers in f32.
    F32(&'a [f32]),
    /// Numbers of another dtype, or in bytes without alignment: little-endian, whole elements.
    Stored {
        /// What they are; a dtype of floating-point numbers.
        dtype: Dtype,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Whole rows of int8 along the first axis, with the factor of each.
    Int8 {
        /// The rows.
        values: &'a [i8],
        /// One for each row.
        scales: &'a [f32],
    },
}

impl Elements<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Elements::F32(values) => values.len(),
            Elements::Stored { dtype, bytes } => bytes.len() / dtype.size(),
            Elements::Int8 { values, .. } => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends elements `range` to `out`, as f32.
    pub fn widen(&self, range: std::ops::Range<usize>, out: &mut Vec<f32>) {
        match self {
            Elements::F32(values) => out.extend_from_slice(&values[range]),
            Elements::Stored { dtype, bytes } => {
                let start = out.len();
                out.resize(start + range.len(), 0.0);
                let size = dtype.size();
                cast_to_f32(*dtype, &bytes[range.start * size..range.end * size], &mut out[start..]);
            }
            Elements::Int8 { values, scales } => {
                let width = values.len() / scales.len().max(1);
                out.extend(range.map(|index| f32::from(values[index]) * scales[index / width]));
            }
        }
    }
}
