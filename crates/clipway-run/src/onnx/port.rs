//! Inputs and outputs of a graph, and their values.

use super::failure::OnnxError;

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxPort {
    /// Its name.
    pub name: String,
    /// Its shape; `None` for dimensions chosen by the caller, or unknown.
    pub shape: Vec<Option<usize>>,
    /// Whether its elements are integers; bytes do not count.
    pub integers: bool,
}

/// Element type of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum OnnxData {
    /// f32.
    Floats(Vec<f32>),
    /// Token ids.
    Integers(Vec<i64>),
    /// u8.
    Bytes(Vec<u8>),
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxOutput {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<f32>,
}

impl OnnxPort {
    /// Integers in 32 bits.
    pub(super) fn narrow(&self, values: &[i64]) -> Result<Vec<i32>, OnnxError> {
        let narrow = values.iter().map(|value| i32::try_from(*value)).collect::<Result<_, _>>();
        narrow.map_err(|_| OnnxError::Input {
            name: self.name.clone(),
            expected: "32-bit integers".to_owned(),
            found: "larger ones".to_owned(),
        })
    }

    /// Checks the type and shape of an input.
    pub(super) fn check(&self, shape: &[usize], data: &OnnxData) -> Result<(), OnnxError> {
        let (count, integers) = match data {
            OnnxData::Floats(values) => (values.len(), false),
            OnnxData::Bytes(values) => (values.len(), false),
            OnnxData::Integers(values) => (values.len(), true),
        };
        let fits = |(own, given): (&Option<usize>, &usize)| own.is_none_or(|own| own == *given);
        let whole = shape.iter().product::<usize>() == count && integers == self.integers;
        if whole && shape.len() == self.shape.len() && self.shape.iter().zip(shape).all(fits) {
            return Ok(());
        }
        let dims: Vec<String> =
            self.shape.iter().map(|dim| dim.map_or("any".to_owned(), |length| length.to_string())).collect();
        let kind = |integers| if integers { "integers" } else { "numbers" };
        Err(OnnxError::Input {
            name: self.name.clone(),
            expected: format!("{} [{}]", kind(self.integers), dims.join(", ")),
            found: format!("{count} {} as {shape:?}", kind(integers)),
        })
    }
}
