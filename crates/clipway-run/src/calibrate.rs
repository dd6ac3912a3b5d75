//! Ranges of the inputs of products, which int8 with fixed scales needs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clipway_formats::shown_path;
use clipway_model::graph::{Graph, Operation, ValueId};
use clipway_model::quantize::product_inputs;
use clipway_model::source::Source;
use clipway_model::spelling::onnx::Ranges;

use crate::clip::{Clip, ClipError};
use crate::load::{LoadError, LoadOptions};
use crate::tower::Intermediate;
use crate::verify::{Inputs, probes};

/// Texts that are run at once.
const PASS: usize = 8;

/// A model cannot be calibrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// A value is NaN or infinite.
    #[error(
        "`{}`: `{module}` computes values that are NaN or infinite, so their range is unknown",
        shown_path(path)
    )]
    NotFinite {
        /// The source.
        path: PathBuf,
        /// The module that computes it.
        module: String,
    },
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model refuses the inputs.
    #[error(transparent)]
    Run(#[from] ClipError),
}

impl CalibrateError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            CalibrateError::NotFinite { .. } => "not-finite",
            CalibrateError::Load(error) => error.code(),
            CalibrateError::Run(error) => error.code(),
        }
    }
}

/// Runs a source in the engine, and finds the largest absolute value of each input of a product.
///
/// # Errors
/// A source that cannot be loaded, inputs that it refuses, and values that are not finite.
pub fn calibrate(source: &Source, load: &LoadOptions, inputs: &Inputs) -> Result<Ranges, CalibrateError> {
    let load = LoadOptions { product_inputs: true, blocks: false, ..load.clone() };
    let clip = Clip::load(source, &load)?;
    let model = source.model();
    let mut ranges = Ranges::default();
    if clip.has_image_tower() {
        let pixels = model.image.nodes.iter().position(|node| matches!(node.operation, Operation::Pixels));
        let pixels = pixels.map(|index| model.image.value(index));
        for (name, image) in &inputs.images {
            let values = clip.pixels(name, image)?;
            let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            if let Some(value) = pixels {
                widen(&mut ranges.image, value, largest);
            }
            observe(&model.image, &clip.image_intermediates(&values)?, &mut ranges.image);
        }
    }
    if clip.has_text_tower() {
        for texts in inputs.texts.chunks(PASS) {
            let ids = match clip.has_tokenizer() {
                true => clip.tokens(texts)?.ids,
                false => probes::token_ids(texts.len(), clip.text_input()?),
            };
            observe(&model.text, &clip.text_intermediates(&ids)?, &mut ranges.text);
        }
    }
    for (graph, found) in [(&model.image, &ranges.image), (&model.text, &ranges.text)] {
        if let Some((value, _)) = found.iter().find(|(_, largest)| !largest.is_finite()) {
            let module = graph.node(*value).scope.clone();
            return Err(CalibrateError::NotFinite { path: source.path().to_owned(), module });
        }
    }
    Ok(ranges)
}

/// Widens the ranges of a tower by what one run computed.
fn observe(tower: &Graph, found: &[Intermediate], ranges: &mut BTreeMap<ValueId, f32>) {
    for value in product_inputs(tower) {
        let name = value.index().to_string();
        let values = found.iter().filter(|found| found.name == name).flat_map(|found| &found.values);
        // NaN counts as infinite: `max` would pass over it.
        let magnitude = |value: &f32| if value.is_nan() { f32::INFINITY } else { value.abs() };
        let largest = values.map(magnitude).fold(0.0, f32::max);
        widen(ranges, value, largest);
    }
}

fn widen(ranges: &mut BTreeMap<ValueId, f32>, value: ValueId, largest: f32) {
    let range = ranges.entry(value).or_insert(0.0);
    *range = range.max(largest);
}
