//! Applies steps to bytes, tensor by tensor.

use std::convert::Infallible;
use std::ops::Range;

use clipway_formats::{Dtype, FormatError, Place, TensorInfo, check_room, reserve};

use super::fold::fold;
use super::mix::mix;
use super::quantize::{Integers, Part};
use super::resample::{resample_grid, resample_rows};
use super::rounding::{PartSink, Rounder, widened};
use super::take::RowPicker;
use super::{PlannedTensor, Step};
use crate::state_dict::{StateDict, cast_from_f32, cast_to_f32};

/// Number of elements cast at a time.
const BLOCK: usize = 1 << 12;

/// Result of making a tensor, besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Number of finite values that became infinite because the new dtype cannot represent them.
    pub overflowed: usize,
}

/// A tensor that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError<E> {
    /// A source could not be read.
    #[error(transparent)]
    Read(FormatError),
    /// The sink refused the bytes.
    #[error(transparent)]
    Sink(E),
}

/// [`apply`] for a sink that takes everything.
///
/// # Errors
/// A source that cannot be read.
///
/// # Panics
/// As [`apply`].
pub fn apply_all(
    planned: &PlannedTensor,
    source: &StateDict,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<Applied, FormatError> {
    let mut take = |piece: &[u8]| {
        sink(piece);
        Ok::<(), Infallible>(())
    };
    apply(planned, source, &mut take).map_err(|error| match error {
        ApplyError::Read(cause) => cause,
        ApplyError::Sink(never) => match never {},
    })
}

/// Makes a planned tensor and passes its little-endian bytes to `sink`, in order, in pieces of whole elements. Tensors
/// that are only renamed, reshaped, cast, rounded to integers or widened from them are streamed in small pieces; others
/// are held in memory.
///
/// # Errors
/// A source that cannot be read, or an error from the sink.
///
/// # Panics
/// If the plan was not made for `source`, or fails its check.
pub fn apply<E>(
    planned: &PlannedTensor,
    source: &StateDict,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<Applied, ApplyError<E>> {
    apply_together(std::slice::from_ref(planned), source, &mut |_, piece| sink(piece))
}

/// The same for tensors of a range of [`rounded_together`](super::rounded_together): they are rounded once. `sink` takes the
/// place of a tensor among them, and its bytes.
///
/// # Errors
/// As [`apply`].
///
/// # Panics
/// As [`apply`], and without tensors.
pub fn apply_together<E>(
    planned: &[PlannedTensor],
    source: &StateDict,
    sink: PartSink<'_, E>,
) -> Result<Applied, ApplyError<E>> {
    let first = planned.first().expect("there is a tensor");
    let roundings = planned.iter().map(|planned| planned.steps.last().and_then(Step::rounding));
    let Some(roundings) = roundings.collect::<Option<Vec<(Integers, Part)>>>() else {
        return floats(first, source, &mut |piece| sink(0, piece));
    };
    let whole = first.up_to(first.steps.len() - 1).expect("the plan was checked");
    let parts: Vec<Part> = roundings.iter().map(|(_, part)| *part).collect();
    let TensorInfo { dtype, shape, .. } = &whole.target;
    let mut rounder = Rounder::new(&first.target.name, roundings[0].0, &parts, shape);
    let made = flattened(floats(&whole, source, &mut |piece| rounder.push(*dtype, piece, sink)))?;
    rounder.finish(sink)?;
    Ok(made)
}

/// Makes a tensor whose last step is no rounding to integers.
fn floats<E>(
    planned: &PlannedTensor,
    source: &StateDict,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<Applied, ApplyError<E>> {
    let streams = |step: &Step| matches!(step, Step::Reshape { .. } | Step::Cast { .. });
    let mut finish = Caster::new(planned, sink);
    match (&planned.sources[..], &planned.steps[..]) {
        ([only], steps) if steps.iter().all(streams) => {
            let index = source.find(&only.name).expect("the plan was made for this source");
            let read = source.read_chunks(index, &mut |piece| finish.push(only.dtype, piece));
            finish.result()?;
            read.map_err(ApplyError::Read)?;
        }
        (_, [Step::Dequantize { from }, steps @ ..]) if steps.iter().all(streams) => {
            let read = widened(planned, *from, source, &mut |piece| finish.push(Dtype::F32, piece));
            finish.result()?;
            read.map_err(ApplyError::Read)?;
        }
        (sources, [Step::Mix { shares, to }]) => {
            let mut push = |piece: &[u8]| {
                finish.push(*to, piece);
                finish.result()
            };
            flattened(mix(sources, shares, *to, source, &mut push))?;
        }
        (sources, steps) => {
            let (mut inputs, steps) = match (sources, steps.split_first()) {
                ([only], Some((&Step::Slice { axis: 0, start, end }, steps))) => {
                    (vec![rows(only, start..end, source).map_err(ApplyError::Read)?], steps)
                }
                ([only], Some((Step::TakeRows { rows, .. }, steps))) => {
                    (vec![chosen_rows(only, rows, source).map_err(ApplyError::Read)?], steps)
                }
                (sources, Some((Step::Mix { shares, to }, steps))) => {
                    let mut made = empty(planned, *to, &sources[0].shape).map_err(ApplyError::Read)?;
                    let mut keep = |piece: &[u8]| {
                        made.bytes.extend_from_slice(piece);
                        Ok(())
                    };
                    flattened(mix(sources, shares, *to, source, &mut keep))?;
                    (vec![made], steps)
                }
                (sources, Some((Step::Dequantize { from }, steps))) => {
                    let shape = from.whole(sources).expect("the plan was checked");
                    let mut made = empty(planned, Dtype::F32, &shape).map_err(ApplyError::Read)?;
                    widened(planned, *from, source, &mut |piece| made.bytes.extend_from_slice(piece))
                        .map_err(ApplyError::Read)?;
                    (vec![made], steps)
                }
                (sources, _) => {
                    let whole = |info| rows(info, 0..info.shape.first().copied().unwrap_or(1), source);
                    let inputs = sources.iter().map(whole).collect::<Result<Vec<_>, _>>();
                    (inputs.map_err(ApplyError::Read)?, steps)
                }
            };
            for step in steps.iter().filter(|step| !matches!(step, Step::Cast { .. })) {
                let infos: Vec<TensorInfo> = inputs.iter().map(|input| input.info.clone()).collect();
                let (dtype, shape) = step.result(&infos).expect("the plan was checked");
                check_step_room(step, &infos, dtype, &shape).map_err(ApplyError::Read)?;
                let bytes = match step {
                    Step::Fill { value, dtype, .. } => filled(*value, *dtype, shape.iter().product()),
                    Step::Identity { dtype, size } => identity(*dtype, *size),
                    _ => transform(step, &inputs, &shape),
                };
                let name = planned.target.name.clone();
                inputs = vec![Tensor { info: TensorInfo { name, dtype, shape }, bytes }];
            }
            let [made] = &inputs[..] else { panic!("several sources are joined by the first step") };
            finish.push(made.info.dtype, &made.bytes);
            finish.result()?;
        }
    }
    Ok(Applied { overflowed: finish.overflowed })
}

/// The result of a part whose sink has the error of the whole.
fn flattened<T, E>(result: Result<T, ApplyError<ApplyError<E>>>) -> Result<T, ApplyError<E>> {
    result.map_err(|error| match error {
        ApplyError::Read(cause) => ApplyError::Read(cause),
        ApplyError::Sink(error) => error,
    })
}

/// Checks that there is memory for what a step makes: its result, and for sums its inputs as f32 and the result as f64.
fn check_step_room(
    step: &Step,
    inputs: &[TensorInfo],
    dtype: Dtype,
    shape: &[usize],
) -> Result<(), FormatError> {
    let elements = shape.iter().product::<usize>();
    let bytes = match step {
        Step::Fold { .. } | Step::ResampleGrid(_) | Step::ResampleRows { .. } => {
            let values: usize = inputs.iter().map(TensorInfo::elements).sum();
            values
                .saturating_mul(size_of::<f32>())
                .saturating_add(elements.saturating_mul(size_of::<f64>() + 4))
        }
        _ => elements.saturating_mul(dtype.size()),
    };
    check_room(bytes, || Place::Tensor(inputs.first().map_or_else(String::new, |info| info.name.clone())))
}

/// Reads only these rows of a tensor.
///
/// # Panics
/// If the source lacks the tensor.
fn rows(info: &TensorInfo, rows: Range<usize>, source: &StateDict) -> Result<Tensor, FormatError> {
    let index = source.find(&info.name).expect("the plan was made for this source");
    let (mut info, mut bytes) = (info.clone(), Vec::new());
    let row = info.bytes() / info.shape.first().copied().unwrap_or(1).max(1);
    let (start, end) = (rows.start * row, rows.end * row);
    let mut at = 0;
    reserve(&mut bytes, end - start, || Place::Tensor(info.name.clone()))?;
    source.read_chunks(index, &mut |piece| {
        let within = |place: usize| place.clamp(at, at + piece.len()) - at;
        bytes.extend_from_slice(&piece[within(start)..within(end)]);
        at += piece.len();
    })?;
    if let Some(length) = info.shape.first_mut() {
        *length = rows.len();
    }
    Ok(Tensor { info, bytes })
}

/// Reads only the rows at these indices, in ascending order.
///
/// # Panics
/// If the source lacks the tensor.
fn chosen_rows(info: &TensorInfo, chosen: &[u32], source: &StateDict) -> Result<Tensor, FormatError> {
    let index = source.find(&info.name).expect("the plan was made for this source");
    let (mut info, mut bytes) = (info.clone(), Vec::new());
    let row = info.bytes() / info.shape.first().copied().unwrap_or(1).max(1);
    reserve(&mut bytes, chosen.len() * row, || Place::Tensor(info.name.clone()))?;
    let mut picker = RowPicker::new(chosen, row);
    source.read_chunks(index, &mut |piece| picker.push(piece, &mut bytes))?;
    if let Some(length) = info.shape.first_mut() {
        *length = chosen.len();
    }
    Ok(Tensor { info, bytes })
}

struct Tensor {
    info: TensorInfo,
    bytes: Vec<u8>,
}

/// A tensor without bytes, and room for them.
fn empty(planned: &PlannedTensor, dtype: Dtype, shape: &[usize]) -> Result<Tensor, FormatError> {
    let info = TensorInfo { name: planned.target.name.clone(), dtype, shape: shape.to_vec() };
    let mut bytes = Vec::new();
    reserve(&mut bytes, info.bytes(), || Place::Tensor(info.name.clone()))?;
    Ok(Tensor { info, bytes })
}

impl Tensor {
    fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.info.elements()];
        cast_to_f32(self.info.dtype, &self.bytes, &mut values);
        values
    }
}

/// The last cast of a tensor, if any, on the way to the sink.
struct Caster<'a, E> {
    to: Option<Dtype>,
    sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
    failure: Option<E>,
    overflowed: usize,
    out: Vec<u8>,
}

impl<'a, E> Caster<'a, E> {
    fn new(planned: &PlannedTensor, sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>) -> Self {
        let cast = planned.steps.iter().any(|step| matches!(step, Step::Cast { .. }));
        let to = cast.then_some(planned.target.dtype);
        Caster { to, sink, failure: None, overflowed: 0, out: Vec::new() }
    }

    /// Passes elements on; after a failure they are discarded.
    fn push(&mut self, dtype: Dtype, bytes: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        let bytes = match self.to {
            Some(to) => {
                self.out.clear();
                self.overflowed += cast(dtype, bytes, to, &mut self.out);
                &self.out
            }
            None => bytes,
        };
        self.failure = (self.sink)(bytes).err();
    }

    fn result(&mut self) -> Result<(), ApplyError<E>> {
        self.failure.take().map_or(Ok(()), |error| Err(ApplyError::Sink(error)))
    }
}

/// Appends `bytes` of one dtype to `out` as another; returns how many finite values became infinite.
fn cast(from: Dtype, bytes: &[u8], to: Dtype, out: &mut Vec<u8>) -> usize {
    let mut block = [0f32; BLOCK];
    let mut overflowed = 0;
    for piece in bytes.chunks(BLOCK * from.size()) {
        let block = &mut block[..piece.len() / from.size()];
        cast_to_f32(from, piece, block);
        overflowed += cast_from_f32(to, block, out);
        if from == Dtype::F64 {
            // An f64 beyond f32's range is infinite in the block already.
            let (doubles, _) = piece.as_chunks::<8>();
            let doubles = doubles.iter().map(|bytes| f64::from_le_bytes(*bytes));
            overflowed += doubles
                .zip(&*block)
                .filter(|(wide, narrow)| wide.is_finite() && narrow.is_infinite())
                .count();
        }
    }
    overflowed
}

/// The bytes of a number, repeated.
fn filled(value: i64, dtype: Dtype, elements: usize) -> Vec<u8> {
    if dtype == Dtype::I64 {
        return value.to_le_bytes().repeat(elements);
    }
    let mut one = Vec::new();
    cast_from_f32(dtype, &[value as f32], &mut one);
    one.repeat(elements)
}

/// Bytes of an identity matrix.
fn identity(dtype: Dtype, size: usize) -> Vec<u8> {
    let mut bytes = filled(0, dtype, size * size);
    let one = filled(1, dtype, 1);
    for row in 0..size {
        bytes[row * (size + 1) * one.len()..][..one.len()].copy_from_slice(&one);
    }
    bytes
}

/// Bytes of a step's result, whose shape is `shape`.
fn transform(step: &Step, inputs: &[Tensor], shape: &[usize]) -> Vec<u8> {
    let Tensor { info, bytes } = &inputs[0];
    let size = info.dtype.size();
    let product = |lengths: &[usize]| lengths.iter().product::<usize>();
    let single = |made: Vec<f32>| made.iter().flat_map(|value| value.to_le_bytes()).collect();
    match step {
        Step::Reshape { .. } | Step::Cast { .. } => bytes.clone(),
        Step::Fill { .. }
        | Step::Identity { .. }
        | Step::Mix { .. }
        | Step::Quantize { .. }
        | Step::GroupScales
        | Step::RowScales { .. }
        | Step::Dequantize { .. } => {
            unreachable!("these are made before")
        }
        Step::Concatenate { axis } => {
            let before = product(&shape[..*axis]);
            let mut out = Vec::with_capacity(product(shape) * size);
            for index in 0..before {
                for input in inputs {
                    let row = product(&input.info.shape[*axis..]) * size;
                    out.extend_from_slice(&input.bytes[index * row..][..row]);
                }
            }
            out
        }
        Step::JoinRows { parts } => {
            let rows = inputs.iter().zip(parts).flat_map(|(input, [start, end])| {
                let row = product(&input.info.shape[1..]) * size;
                &input.bytes[start * row..end * row]
            });
            rows.copied().collect()
        }
        Step::Stack { .. } => inputs.iter().flat_map(|input| input.bytes.iter()).copied().collect(),
        Step::Slice { axis, start, end } => {
            let inner = product(&info.shape[axis + 1..]) * size;
            let row = info.shape[*axis] * inner;
            bytes.chunks_exact(row.max(1)).flat_map(|row| &row[start * inner..end * inner]).copied().collect()
        }
        Step::TakeRows { rows, .. } => {
            let row = product(&info.shape[1..]) * size;
            rows.iter().flat_map(|&index| &bytes[index as usize * row..][..row]).copied().collect()
        }
        Step::Transpose { axes } => {
            let strides: Vec<usize> = (0..axes.len()).map(|axis| product(&info.shape[axis + 1..])).collect();
            let strides: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
            let mut out = Vec::with_capacity(bytes.len());
            let mut place = vec![0; shape.len()];
            for _ in 0..product(shape) {
                let at: usize = place.iter().zip(&strides).map(|(index, stride)| index * stride).sum();
                out.extend_from_slice(&bytes[at * size..][..size]);
                for axis in (0..shape.len()).rev() {
                    place[axis] += 1;
                    if place[axis] < shape[axis] {
                        break;
                    }
                    place[axis] = 0;
                }
            }
            out
        }
        Step::Fold { part, shape, terms } => {
            let shapes: Vec<&[usize]> = inputs.iter().map(|input| &input.info.shape[..]).collect();
            let values: Vec<Vec<f32>> = inputs.iter().map(Tensor::values).collect();
            single(fold(*part, shape, terms, &shapes, &values))
        }
        Step::ResampleGrid(change) => single(resample_grid(&inputs[0].values(), *change, info.shape[1])),
        Step::ResampleRows { from, to } => {
            single(resample_rows(&inputs[0].values(), *from, *to, info.shape[1]))
        }
    }
}
