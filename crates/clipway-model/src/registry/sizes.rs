//! Sizes of the registered models, known without building them.

use std::sync::OnceLock;

use clipway_formats::{Code, FormatError, JsonValue};

use crate::graph::Parameters;
use crate::plan::Precision;

/// By name: parameters, floating-point values, other bytes and tensors, counted in open_clip's own state dicts.
static SIZES: &str = include_str!("../../data/sizes.json");

/// Size of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelSize {
    /// Number of parameters.
    pub parameters: u64,
    /// Number of floating-point values in the state dict: parameters and buffers.
    pub floats: u64,
    /// Bytes of all other tensors, such as counters.
    pub other_bytes: u64,
    /// Tensors of the state dict.
    pub tensors: u64,
}

impl ModelSize {
    /// The size of everything in a model's checkpoint.
    pub fn of(parameters: &Parameters) -> ModelSize {
        let mut size = ModelSize {
            parameters: parameters.trained_elements() as u64,
            floats: 0,
            other_bytes: 0,
            tensors: parameters.len() as u64,
        };
        for (_, parameter) in parameters.iter() {
            let elements = parameter.elements() as u64;
            if parameter.dtype.is_float() {
                size.floats += elements;
            } else {
                size.other_bytes += elements * parameter.dtype.size() as u64;
            }
        }
        size
    }

    /// Number of elements in all tensors. Those that are not floating-point are 64-bit integers.
    pub fn elements(&self) -> u64 {
        self.floats + self.other_bytes / 8
    }

    /// Bytes of all tensors, with floating-point ones in this precision.
    pub fn bytes(&self, precision: Precision) -> u64 {
        self.floats * precision.dtype().size() as u64 + self.other_bytes
    }
}

/// Size of a registered model; `None` for an unknown name.
pub fn size(name: &str) -> Option<ModelSize> {
    static ALL: OnceLock<Vec<(String, ModelSize)>> = OnceLock::new();
    // The data belongs to the crate, and a test reads all of it.
    let all = ALL.get_or_init(|| read_all().expect("the registry's sizes are right"));
    all.iter().find(|(known, _)| known == name).map(|(_, size)| *size)
}

fn read_all() -> Result<Vec<(String, ModelSize)>, FormatError> {
    let json = super::parse(SIZES)?;
    let mut all = Vec::new();
    for (name, values) in json.root().members()? {
        let mut figures = [0; 4];
        for (figure, value) in figures.iter_mut().zip(values.items()?) {
            let JsonValue::Unsigned(count) = *value.value() else {
                return Err(value.error(Code::BadValue, "expected a count"));
            };
            *figure = count;
        }
        let [parameters, floats, other_bytes, tensors] = figures;
        all.push((name.to_owned(), ModelSize { parameters, floats, other_bytes, tensors }));
    }
    Ok(all)
}
