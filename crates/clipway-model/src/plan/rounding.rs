//! Rounds rows to integers, and widens them, as their elements come: no tensor is held whole.

use clipway_formats::{Code, Dtype, FormatError, Place};

use super::int4::{Int4Row, pack, unpack, widen};
use super::int8::quantize_row;
use super::quantize::{Integers, Part, check_group_scales, check_int8_row};
use super::{ApplyError, PlannedTensor};
use crate::state_dict::{StateDict, cast_to_f32};

/// Number of elements that are widened at a time.
const BLOCK: usize = 1 << 14;

/// Bytes that are gathered before they are passed on.
const PIECE: usize = 1 << 18;

/// Makes parts of a tensor in integers from its elements, which are rounded once for all of them.
pub(super) struct Rounder<'a> {
    /// The tensor that is written, for messages.
    name: &'a str,
    to: Integers,
    width: usize,
    /// Elements of a row that is not whole yet.
    values: Vec<f32>,
    /// Rows that are done.
    row: usize,
    code: Kind,
    /// The parts, each with what is not passed on yet.
    parts: Vec<(Part, Vec<u8>)>,
}

/// What rows are rounded in.
enum Kind {
    Int8(Vec<i8>),
    /// A row, and the values of the one before where that waits for it.
    Int4(Int4Row, Option<Vec<i8>>),
}

/// Takes bytes of one of several tensors, which is named by its place among them.
pub type PartSink<'s, E> = &'s mut dyn FnMut(usize, &[u8]) -> Result<(), E>;

impl<'a> Rounder<'a> {
    /// Parts of a tensor of this shape.
    ///
    /// # Panics
    /// If the integers do not take the shape.
    pub(super) fn new(name: &'a str, to: Integers, parts: &[Part], shape: &[usize]) -> Rounder<'a> {
        let width = shape[1..].iter().product();
        let code = match to {
            Integers::Int8 => Kind::Int8(vec![0; width]),
            Integers::Int4 => Kind::Int4(Int4Row::new(width).expect("int4 takes the shape"), None),
        };
        let parts = parts.iter().map(|part| (*part, Vec::new())).collect();
        Rounder { name, to, width, values: Vec::new(), row: 0, code, parts }
    }

    /// Takes further elements, and passes on what they complete.
    ///
    /// # Errors
    /// A row that holds NaN or infinity, and errors of the sink.
    pub(super) fn push<E>(
        &mut self,
        dtype: Dtype,
        bytes: &[u8],
        sink: PartSink<'_, E>,
    ) -> Result<(), ApplyError<E>> {
        for block in bytes.chunks(BLOCK * dtype.size()) {
            let start = self.values.len();
            self.values.resize(start + block.len() / dtype.size(), 0.0);
            cast_to_f32(dtype, block, &mut self.values[start..]);
            let whole = self.values.len() / self.width.max(1) * self.width;
            let values = std::mem::take(&mut self.values);
            for row in values[..whole].chunks_exact(self.width.max(1)) {
                self.round(row).map_err(ApplyError::Read)?;
                self.pass_on(PIECE, sink)?;
            }
            self.values = values;
            self.values.drain(..whole);
        }
        Ok(())
    }

    /// Passes on what is left at the end.
    ///
    /// # Errors
    /// Those of the sink.
    pub(super) fn finish<E>(mut self, sink: PartSink<'_, E>) -> Result<(), ApplyError<E>> {
        if let Kind::Int4(_, Some(low)) = &self.code {
            let nothing = vec![0; low.len()];
            for (_, out) in self.parts.iter_mut().filter(|(part, _)| *part == Part::Values) {
                pack([low, &nothing], out);
            }
        }
        self.pass_on(0, sink)
    }

    /// Passes on what has gathered of each part, if it is so much.
    fn pass_on<E>(&mut self, least: usize, sink: PartSink<'_, E>) -> Result<(), ApplyError<E>> {
        for (place, (_, out)) in self.parts.iter_mut().enumerate() {
            if out.len() >= least {
                sink(place, out).map_err(ApplyError::Sink)?;
                out.clear();
            }
        }
        Ok(())
    }

    fn round(&mut self, row: &[f32]) -> Result<(), FormatError> {
        let scale = match &mut self.code {
            Kind::Int8(values) => quantize_row(row, values),
            Kind::Int4(found, _) => found.quantize(row).then_some(found.scale),
        };
        let Some(scale) = scale else {
            let cause = format!("row {} holds NaN or infinity, which {} does not have", self.row, self.to);
            return Err(FormatError::new(Code::BadValue, Place::Tensor(self.name.to_owned()), cause));
        };
        for (part, out) in &mut self.parts {
            match (&mut self.code, part) {
                (_, Part::Scales) => out.extend(scale.to_le_bytes()),
                (Kind::Int8(values), _) => out.extend(values.iter().map(|value| *value as u8)),
                (Kind::Int4(found, _), Part::GroupScales) => {
                    out.extend(found.group_scales.iter().map(|scale| *scale as u8));
                }
                (Kind::Int4(found, before), Part::Values) => match before.take() {
                    Some(low) => pack([&low, &found.values], out),
                    None => *before = Some(found.values.clone()),
                },
            }
        }
        self.row += 1;
        Ok(())
    }
}

/// Reads a tensor that is stored in integers, and hands its elements to `sink` as f32, in pieces of whole rows.
///
/// # Errors
/// Parts that cannot be read, and numbers that the integers do not have.
///
/// # Panics
/// If the tensor does not begin with a widening, or the plan was not made for `source`.
pub(super) fn widened(
    planned: &PlannedTensor,
    from: Integers,
    source: &StateDict,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), FormatError> {
    let scales = planned.read_scales(source)?;
    let place = |name: &str| source.find(name).expect("the plan was made for this source");
    let stored = &planned.sources[0];
    let width = stored.shape[1..].iter().product::<usize>();
    let mut widener = match from {
        Integers::Int8 => Widener::new(&stored.name, width, scales, Vec::new()),
        Integers::Int4 => {
            let info = &planned.sources[1];
            let mut bytes = Vec::new();
            source.read_bytes(place(&info.name), &mut bytes)?;
            let group_scales: Vec<i8> = bytes.into_iter().map(|byte| byte as i8).collect();
            check_group_scales(&info.name, &group_scales, info.shape[1])?;
            Widener::new(&stored.name, width, scales, group_scales)
        }
    };
    let mut result = Ok(());
    source.read_chunks(place(&stored.name), &mut |piece| {
        if result.is_ok() {
            result = widener.push(piece, sink);
        }
    })?;
    result?;
    sink(&widener.out);
    Ok(())
}

/// Widens rows of bytes: of int8, or where there are scales of groups, each two rows of int4.
struct Widener<'a> {
    name: &'a str,
    width: usize,
    scales: Vec<f32>,
    group_scales: Vec<i8>,
    bytes: Vec<u8>,
    /// Rows that are done.
    row: usize,
    values: [Vec<i8>; 2],
    wide: Vec<f32>,
    out: Vec<u8>,
}

impl<'a> Widener<'a> {
    fn new(name: &'a str, width: usize, scales: Vec<f32>, group_scales: Vec<i8>) -> Widener<'a> {
        let values = [Vec::new(), Vec::new()];
        let (bytes, wide, out) = (Vec::new(), Vec::new(), Vec::new());
        Widener { name, width, scales, group_scales, bytes, row: 0, values, wide, out }
    }

    fn push(&mut self, piece: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        self.bytes.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.bytes);
        let rows = bytes.chunks_exact(self.width.max(1));
        let rest = rows.remainder().to_vec();
        for row in rows {
            self.wide.clear();
            match self.group_scales.len() / self.scales.len().max(1) {
                0 => self.int8_row(row)?,
                groups => self.int4_rows(row, groups)?,
            }
            self.out.extend(self.wide.iter().flat_map(|value| value.to_le_bytes()));
            if self.out.len() >= PIECE {
                sink(&self.out);
                self.out.clear();
            }
        }
        self.bytes = rest;
        Ok(())
    }

    fn int8_row(&mut self, row: &[u8]) -> Result<(), FormatError> {
        let [values, _] = &mut self.values;
        values.clear();
        values.extend(row.iter().map(|byte| *byte as i8));
        check_int8_row(self.name, self.row, values)?;
        let scale = self.scales[self.row];
        self.wide.extend(values.iter().map(|value| f32::from(*value) * scale));
        self.row += 1;
        Ok(())
    }

    fn int4_rows(&mut self, bytes: &[u8], groups: usize) -> Result<(), FormatError> {
        let [low, high] = &mut self.values;
        unpack(bytes, [low, high]);
        for values in [&*low, &*high] {
            let Some(scale) = self.scales.get(self.row) else {
                if values.iter().any(|value| *value != 0) {
                    let cause = "the upper halves of its last bytes, which belong to no row, are not 0";
                    let place = Place::Tensor(self.name.to_owned());
                    return Err(FormatError::new(Code::BadValue, place, cause));
                }
                continue;
            };
            widen(values, &self.group_scales[self.row * groups..][..groups], *scale, &mut self.wide);
            self.row += 1;
        }
        Ok(())
    }
}
