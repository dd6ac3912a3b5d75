//! Weighted sums of tensors, streamed: every source is read by a thread of its own, a few pieces ahead of the sum.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use clipway_formats::{Code, Dtype, FormatError, Place, TensorInfo};

use super::ApplyError;
use crate::state_dict::{StateDict, cast_from_f32, cast_to_f32};

/// Number of elements added at a time.
const BLOCK: usize = 1 << 14;

/// Pieces that a source may be ahead of the sum.
const AHEAD: usize = 2;

type Piece = Result<Vec<u8>, FormatError>;

/// Passes `Σ share · value` to `sink` in pieces, each element added in f64 in the order of the sources and rounded once
/// to `to`.
///
/// # Errors
/// A source that cannot be read or holds NaN or infinity, a sum that `to` cannot represent, or an error from the sink.
///
/// # Panics
/// If `state_dict` lacks a source.
pub(super) fn mix<E>(
    sources: &[TensorInfo],
    shares: &[f64],
    to: Dtype,
    state_dict: &StateDict,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), ApplyError<E>> {
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for info in sources {
            let index = state_dict.find(&info.name).expect("the plan was made for this source");
            let (sender, receiver) = sync_channel(AHEAD);
            scope.spawn(move || send(state_dict, index, &sender));
            readers.push(Reader { info, receiver, piece: Vec::new(), at: 0 });
        }
        let mut left = sources.first().map_or(0, TensorInfo::elements);
        let (mut sum, mut values, mut out) = (Vec::new(), Vec::new(), Vec::new());
        while left > 0 {
            let mut count = left.min(BLOCK);
            for reader in &mut readers {
                count = count.min(reader.available().map_err(ApplyError::Read)?);
            }
            sum.clear();
            sum.resize(count, 0.0);
            for (reader, share) in readers.iter_mut().zip(shares) {
                reader.take(count, &mut values).map_err(ApplyError::Read)?;
                for (sum, value) in sum.iter_mut().zip(&values) {
                    *sum += share * value;
                }
            }
            out.clear();
            round(to, &sum, &mut out).map_err(|cause| {
                let place = Place::Tensor(sources[0].name.clone());
                ApplyError::Read(FormatError::new(Code::BadValue, place, cause))
            })?;
            sink(&out).map_err(ApplyError::Sink)?;
            left -= count;
        }
        Ok(())
    })
}

/// Sends a tensor's pieces until it ends or nobody listens.
fn send(state_dict: &StateDict, index: usize, sender: &SyncSender<Piece>) {
    let mut is_heard = true;
    let read = state_dict.read_chunks(index, &mut |piece| {
        is_heard = is_heard && sender.send(Ok(piece.to_vec())).is_ok();
    });
    if let Err(cause) = read {
        // A sum that has stopped has an error of its own.
        let _ = sender.send(Err(cause));
    }
}

/// A source on its way into the sum.
struct Reader<'a> {
    info: &'a TensorInfo,
    receiver: Receiver<Piece>,
    piece: Vec<u8>,
    at: usize,
}

impl Reader<'_> {
    /// Number of elements that can be taken; at least one.
    fn available(&mut self) -> Result<usize, FormatError> {
        while self.at == self.piece.len() {
            self.piece = self.receiver.recv().unwrap_or_else(|_| {
                let place = Place::Tensor(self.info.name.clone());
                Err(FormatError::new(Code::Truncated, place, "it ends too early"))
            })?;
            self.at = 0;
        }
        Ok((self.piece.len() - self.at) / self.info.dtype.size())
    }

    /// Takes elements as f64.
    fn take(&mut self, count: usize, out: &mut Vec<f64>) -> Result<(), FormatError> {
        let end = self.at + count * self.info.dtype.size();
        let bytes = &self.piece[self.at..end];
        self.at = end;
        out.clear();
        if self.info.dtype == Dtype::F64 {
            out.extend(bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        } else {
            let mut narrow = vec![0.0; count];
            cast_to_f32(self.info.dtype, bytes, &mut narrow);
            out.extend(narrow.into_iter().map(f64::from));
        }
        if out.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let place = Place::Tensor(self.info.name.clone());
        Err(FormatError::new(Code::BadValue, place, "it holds NaN or infinity, which cannot be mixed"))
    }
}

/// Appends finite values rounded once: to nearest, ties to even.
fn round(to: Dtype, values: &[f64], out: &mut Vec<u8>) -> Result<(), String> {
    let narrow: Vec<f32> = match to {
        Dtype::F32 => values.iter().map(|value| *value as f32).collect(),
        _ => values.iter().map(|value| to_odd(*value)).collect(),
    };
    let overflowed = cast_from_f32(to, &narrow, out);
    let infinite = narrow.iter().filter(|value| value.is_infinite()).count();
    match overflowed + infinite {
        0 => Ok(()),
        count => Err(format!("{count} sums are beyond the range of {to}")),
    }
}

/// Rounds to f32 so that a further rounding to fewer bits is as if there had been one: inexact values get an odd last
/// bit.
fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) == value {
        return nearest;
    }
    let is_beyond = f64::from(nearest).abs() > value.abs();
    f32::from_bits((nearest.to_bits() - u32::from(is_beyond)) | 1)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn halves_are_rounded_once() {
        let round = |to, value| {
            let mut out = Vec::new();
            round(to, &[value], &mut out).unwrap();
            u16::from_le_bytes([out[0], out[1]])
        };
        // Just above a tie between neighbors of 1: rounding to f32 first gives the tie itself, and then the even one.
        let above = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        assert_eq!(round(Dtype::F16, above), 0x3c01);
        assert_eq!(f16::from_f32(above as f32).to_bits(), 0x3c00, "rounded twice");
        assert_eq!(round(Dtype::F16, -above), 0xbc01);
        let below = 1.0 + 3.0 * 2f64.powi(-11) - 2f64.powi(-40);
        assert_eq!(round(Dtype::F16, below), 0x3c01);
        let above = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        assert_eq!(round(Dtype::BF16, above), 0x3f81);
        assert_eq!(bf16::from_f32(above as f32).to_bits(), 0x3f80, "rounded twice");
        assert_eq!(round(Dtype::F16, 1.0 + 2f64.powi(-11)), 0x3c00, "a tie goes to the even neighbor");
    }

    #[test]
    fn what_the_dtype_cannot_represent_is_refused() {
        let check = |to, value| round(to, &[1.0, value], &mut Vec::new()).is_err();
        assert!(check(Dtype::F16, 65520.0) && !check(Dtype::F16, 65519.9));
        assert!(check(Dtype::F32, 3.5e38) && !check(Dtype::F32, 3.4e38));
        assert!(check(Dtype::BF16, 3.4e38) && check(Dtype::F16, -1e300));
    }
}
