//! The weights that a plan makes of a state dict, as the engine reads them.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use clipway_formats::FormatError;
use clipway_model::plan::{
    ApplyError, Int4Row, Integers, PlannedTensor, apply, check_int8_row, quantize_row,
};
use clipway_model::source::Source;
use clipway_model::state_dict::StateDict;

use crate::engine::{Elements, EngineError, WeightError, Weights};

/// A source's weights by open_clip's names.
pub(crate) struct PlannedWeights<'a> {
    planned: HashMap<&'a str, &'a PlannedTensor>,
    source: &'a StateDict,
    /// Tensors that are quantized as they are read.
    quantized: Option<Arc<BTreeMap<String, Integers>>>,
}

impl<'a> PlannedWeights<'a> {
    pub(crate) fn new(
        source: &'a Source,
        quantized: Option<Arc<BTreeMap<String, Integers>>>,
    ) -> PlannedWeights<'a> {
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

    /// The integers that a tensor is quantized to as it is read.
    fn quantized_to(&self, name: &str) -> Option<Integers> {
        self.quantized.as_ref().and_then(|chosen| chosen.get(name).copied())
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
        let name = &planned.sources[0].name;
        let index = self.source.find(name).ok_or(WeightError::Missing)?;
        let (mut values, mut row, mut checked) = (Vec::new(), 0, Ok(()));
        self.source
            .read_chunks(index, &mut |piece| {
                values.extend(piece.iter().map(|byte| *byte as i8));
                let rows = (values.len() / width).min(scales.len() - row);
                let mut whole = values.chunks_exact(width).take(rows).enumerate();
                if checked.is_ok() {
                    checked = whole.try_for_each(|(index, values)| check_int8_row(name, row + index, values));
                }
                sink(Elements::Int8 { values: &values[..rows * width], scales: &scales[row..row + rows] });
                values.drain(..rows * width);
                row += rows;
            })
            .map_err(refused)?;
        checked.map_err(refused)
    }

    /// Quantizes a tensor, row by row. What is in int4 is widened again, as the engine reads it.
    fn quantize(
        &self,
        planned: &PlannedTensor,
        to: Integers,
        sink: &mut dyn FnMut(Elements<'_>),
    ) -> Result<(), WeightError> {
        let rows = planned.target.shape.first().copied().unwrap_or(1);
        let width = (planned.target.elements() / rows.max(1)).max(1);
        let (mut values, mut finite) = (Vec::new(), true);
        let (mut quantized, mut in_groups, mut wide) = (vec![0; width], None, Vec::new());
        if to == Integers::Int4 {
            in_groups = Some(Int4Row::new(width).ok_or(WeightError::Groups { width })?);
        }
        self.floats(planned, &mut |piece| {
            piece.widen(0..piece.len(), &mut values);
            let whole = values.len() / width * width;
            for row in values[..whole].chunks_exact(width) {
                match &mut in_groups {
                    Some(in_groups) => {
                        finite &= in_groups.quantize(row);
                        wide.clear();
                        in_groups.widen(&mut wide);
                        sink(Elements::F32(&wide));
                    }
                    None => match quantize_row(row, &mut quantized) {
                        Some(scale) => sink(Elements::Int8 { values: &quantized, scales: &[scale] }),
                        None => finite = false,
                    },
                }
            }
            values.drain(..whole);
        })?;
        if finite { Ok(()) } else { Err(WeightError::NotFinite { integers: to }) }
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
        match (self.quantized_to(name), planned.integers()) {
            (Some(to), _) => self.quantize(planned, to, sink),
            (None, Some(Integers::Int8)) => self.stored_int8(planned, sink),
            (None, Some(Integers::Int4) | None) => self.floats(planned, sink),
        }
    }

    fn is_int8(&self, name: &str) -> bool {
        let stored = || self.planned.get(name).and_then(|planned| planned.integers());
        self.quantized_to(name).or_else(stored) == Some(Integers::Int8)
    }
}
