//! Weights in int8, and inputs of products rounded to int8.
//!
//! Everything is symmetric. A weight has a scale for each output, a table of embeddings one for each row. `QuantizeLinear` and
//! `DequantizeLinear` stand only in front of products with weights, with fixed scales, so a sample's features do not depend
//! on its batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::graph::ValueId;
use crate::plan::quantize_row;

/// The largest value of int8 in use; -128 is not, so that both signs reach equally far.
pub(super) const MOST: f64 = 127.0;

/// The largest root of a row's scale.
const ROOTS: f32 = 255.0;

/// What is stored in int8, and what is rounded to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8 {
    /// The tensors in int8, by open_clip's names.
    pub names: Arc<BTreeSet<String>>,
    /// Ranges of the inputs of products, if these are rounded to int8 too.
    pub ranges: Option<Arc<Ranges>>,
}

/// The largest absolute values that calibration found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges {
    /// Of the values of the image tower.
    pub image: BTreeMap<ValueId, f32>,
    /// Of the values of the text tower.
    pub text: BTreeMap<ValueId, f32>,
}

/// A part of a quantized tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// The values, in int8.
    Values,
    /// The scale of each slice along the axis.
    Scales,
}

/// A part of a table whose rows are quantized. The scale of a row is `(root · step)²`, with a root in a byte: a table has as
/// many scales as words, and each would take four bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TablePart {
    /// The values, in int8.
    Values,
    /// The root of each row's scale, 1 to 255.
    Roots,
    /// The step of the roots.
    Step,
}

/// The parts of a quantized table.
pub(super) struct Table {
    pub values: Vec<i8>,
    pub roots: Vec<u8>,
    pub step: f32,
}

impl Table {
    /// Quantizes rows of `width` values; `None` if a value is not finite.
    pub fn of(numbers: &[f32], width: usize) -> Option<Table> {
        let mut values = vec![0; numbers.len()];
        let rows = || numbers.chunks_exact(width.max(1));
        let fitted = rows().map(|row| quantize_row(row, &mut values[..width]));
        let fitted: Vec<f32> = fitted.collect::<Option<_>>()?;
        // A row of zeros has any scale.
        let largest = rows().zip(&fitted).filter(|(row, _)| row.iter().any(|value| *value != 0.0));
        let largest = largest.map(|(_, scale)| *scale).fold(f32::MIN_POSITIVE, f32::max);
        let step = largest.sqrt() / ROOTS;
        // Rounded up, so that no value is cut off that was not before.
        let root = |scale: &f32| (scale.sqrt() / step).ceil().clamp(1.0, ROOTS) as u8;
        let roots: Vec<u8> = fitted.iter().map(root).collect();
        for ((row, root), out) in rows().zip(&roots).zip(values.chunks_exact_mut(width.max(1))) {
            let scale = (f32::from(*root) * step).powi(2);
            let rounded =
                |value: f32| (value / scale).round_ties_even().clamp(-MOST as f32, MOST as f32) as i8;
            out.iter_mut().zip(row).for_each(|(out, value)| *out = rounded(*value));
        }
        Some(Table { values, roots, step })
    }
}

/// Quantizes each slice of numbers along an axis; gives the values in their places, and the scales. `None` if a value is
/// not finite.
pub(super) fn quantize_along(numbers: &[f32], shape: &[usize], axis: usize) -> Option<(Vec<i8>, Vec<f32>)> {
    let count = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let mut quantized = vec![0; numbers.len()];
    let mut scales = Vec::with_capacity(count);
    let (mut slice, mut rounded) = (vec![0.0; outer * inner], vec![0; outer * inner]);
    for index in 0..count {
        let place = |at: usize| (at / inner * count + index) * inner + at % inner;
        slice.iter_mut().enumerate().for_each(|(at, value)| *value = numbers[place(at)]);
        scales.push(quantize_row(&slice, &mut rounded)?);
        rounded.iter().enumerate().for_each(|(at, value)| quantized[place(at)] = *value);
    }
    Some((quantized, scales))
}

/// Values as their bytes.
pub(super) fn bytes_of(values: &[i8]) -> Vec<u8> {
    values.iter().map(|value| *value as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn rows_of_very_different_sizes_keep_their_values() {
        let row = |size: f32| [1.0, -0.5, 0.25, 0.0].map(|value: f32| value * size);
        let numbers = [row(10.0), row(0.1), row(0.001), row(0.0)].concat();
        let table = Table::of(&numbers, 4).expect("finite");
        assert_eq!(table.roots[0], 255);
        for ((numbers, values), root) in numbers.chunks(4).zip(table.values.chunks(4)).zip(&table.roots) {
            let scale = (f32::from(*root) * table.step).powi(2);
            for (number, value) in numbers.iter().zip(values) {
                let found = f32::from(*value) * scale;
                assert!((found - number).abs() <= 0.51 * scale, "{found} {number}");
            }
        }
        // The smallest row has a step of its own, not that of the largest.
        assert!(table.values[8] > 60, "{:?}", table.values);
        assert_eq!(table.values[12..], [0; 4]);
        assert!(Table::of(&[1.0, f32::NAN], 2).is_none());
    }
}
