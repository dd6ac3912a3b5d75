//! The weights that a plan makes of a state dict, as the engine reads them.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use clipway_formats::FormatError;
use clipway_model::plan::{ApplyError, PlannedTensor, apply, quantize_row};
use clipway_model::source::Source;
use clipway_model::state_dict::StateDict;

use crate::engine::{Elements, EngineError, WeightError, Weights};

/// A source's weights by open_clip's names.
pub(crate) struct PlannedWeights<'a> {
    planned: HashMap<&'a str, &'a PlannedTensor>,
    source: &'a StateDict,
    /// Tensors that are quantized as they are read.
    quantized: Option<Arc<BTreeSet<String>>>,
}

impl<'a> PlannedWeights<'a> {
    pub(crate) fn new(source: &'a Source, quantized: Option<Arc<BTreeSet<String>>>) -> PlannedWeights<'a> {
        let tensors = source.plan().tensors.iter();
        let planned = tensors.map(|planned| (planned.target.name.as_str(), planned)).collect();
        PlannedWeights { planned, source: &source.weights().state_dict, quantized }
    }

    /// The single value of a tensor `[]` or `[1]`; `None` if there is no such tensor.
    pub(crate) fn scalar(&self, name: &str) -> Result<Option<f32>, EngineError> {
        let mut values = Vec::new();
        let Some(planned) = self.planned.get(name) else { return Ok(None) };
        let shape = planned.target.shape.clone();
        self.read(name, &shape, &mut |piece| piece.widen(0..piece.len(), &mut values))
            .map_err(|cause| EngineError::Weight { name: name.to_owned(), cause })?;
        match values[..] {
            [value] => Ok(Some(value)),
            _ => {
                let cause = WeightError::Shape { expected: Vec::new(), found: shape };
                Err(EngineError::Weight { name: name.to_owned(), cause })
            }
        }
    }

    /// Whether a tensor is quantized as it is read.
    fn is_quantized(&self, name: &str) -> bool {
        self.quantized.as_ref().is_some_and(|names| names.contains(name))
    }

    /// Hands over the elements as the plan makes them.
    fn floats(&self, planned: &PlannedTensor, sink: &mut dyn FnMut(Elements<'_>)) -> Result<(), WeightError> {
        let dtype = planned.target.dtype;
        let mut pass = |bytes: &[u8]| {
            sink(Elements::Stored { dtype, bytes });
            Ok::<(), Infallible>(())
        };
        match apply(planned, self.source, &mut pass) {
            Ok(_) => Ok(()),
            Err(ApplyError::Read(cause)) => Err(refused(cause)),
            Err(ApplyError::Sink(never)) => match never {},
        }
    }

    /// Hands over rows of int8 as they are stored.
    fn stored_int8(
        &self,
        planned: &PlannedTensor,
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let scales = planned.read_scales(self.source).map_err(refused)?;
        let width = (planned.target.elements() / scales.len().max(1)).max(1);
        let index = self.source.find(&planned.sources[0].name).ok_or(WeightError::Missing)?;
        let (mut values, mut row) = (Vec::new(), 0);
        self.source
            .read_chunks(index, &mut |piece| {
                values.extend(piece.iter().map(|byte| *byte as i8));
                let rows = (values.len() / width).min(scales.len() - row);
                sink(Elements::Int8 { values: &values[..rows * width], scales: &scales[row..row + rows] });
                values.drain(..rows * width);
                row += rows;
            })
            .map_err(refused)
    }

    /// Quantizes a tensor, row by row.
    fn quantize(
        &self,
        planned: &PlannedTensor,
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let rows = planned.target.shape.first().copied().unwrap_or(1);
        let width = (planned.target.elements() / rows.max(1)).max(1);
        let (mut values, mut quantized, mut finite) = (Vec::new(), vec![0; width], true);
        self.floats(planned, &mut |piece| {
            piece.widen(0..piece.len(), &mut values);
            let whole = values.len() / width * width;
            for row in values[..whole].chunks_exact(width) {
                match quantize_row(row, &mut quantized) {
                    Some(scale) => sink(Elements::Int8 { values: &quantized, scales: &[scale] }),
                    None => finite = false,
                }
            }
            values.drain(..whole);
        })?;
        if finite { Ok(()) } else { Err(WeightError::NotFinite) }
    }
}

fn refused(cause: FormatError) -> WeightError {
    WeightError::Read(Box::new(cause))
}

impl Weights for PlannedWeights<'_> {
    fn read(
        &self,
        name: &str,
        shape: &[usize],
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let planned = self.planned.get(name).ok_or(WeightError::Missing)?;
        let target = &planned.target;
        if target.shape != shape {
            return Err(WeightError::Shape { expected: shape.to_vec(), found: target.shape.clone() });
        }
        if !target.dtype.is_float() {
            return Err(WeightError::Dtype { found: target.dtype.name().to_owned() });
        }
        if self.is_quantized(name) {
            self.quantize(planned, sink)
        } else if planned.is_int8() {
            self.stored_int8(planned, sink)
        } else {
            self.floats(planned, sink)
        }
    }

    fn is_int8(&self, name: &str) -> bool {
        self.is_quantized(name) || self.planned.get(name).is_some_and(|planned| planned.is_int8())
    }
}
