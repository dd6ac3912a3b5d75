//! Rows in int4: groups of values, each with a whole multiple of the row's scale as its own.
//!
//! A scale in f16 for each group would take two bytes. A byte that counts the row's scale takes one, so that groups are half
//! as long in the same space, and the values of a short group need less range.

use super::int8::MAGIC;

/// The least and the greatest quantized value.
const VALUES: [f32; 2] = [-8.0, 7.0];

/// The greatest scale of a group, counted in the row's.
const MOST_SCALE: f32 = 127.0;

/// The shortest and the longest group.
const GROUP: [usize; 2] = [8, 16];

/// Places for the furthest value of a group, of which the best is taken. Under a negative scale it may lie at -8, which
/// reaches further than 7; beyond these it is cut off, and before them the steps are wider.
const REACHES: [f32; 13] = [-8.0, -6.0, -6.5, -7.0, -7.5, -8.5, -9.0, 7.0, 5.5, 6.0, 6.5, 7.5, 8.0];

/// Number of sums that run side by side, so that their order is the same on every processor.
const LANES: usize = 8;

/// The number of groups in a row: as few as there can be with 8 to 16 values each. `None` if no such number divides the row.
pub(super) fn group_count(width: usize) -> Option<usize> {
    (GROUP[0]..=GROUP[1]).rev().find(|size| width > 0 && width.is_multiple_of(*size)).map(|size| width / size)
}

/// A row in int4.
pub struct Int4Row {
    /// The values, -8 to 7.
    pub(super) values: Vec<i8>,
    /// The scale of each group, counted in the row's: -127 to 127 without 0.
    pub(super) group_scales: Vec<i8>,
    /// The scale of the row, above 0.
    pub(super) scale: f32,
    /// The group's values over its furthest.
    shares: Vec<f32>,
    /// The scales that fit the groups best.
    fitted: Vec<f32>,
}

impl Int4Row {
    /// A row of zeros of this width; `None` if it does not divide into groups.
    pub fn new(width: usize) -> Option<Int4Row> {
        let groups = group_count(width)?;
        Some(Int4Row {
            values: vec![0; width],
            group_scales: vec![1; groups],
            scale: 1.0,
            shares: Vec::new(),
            fitted: vec![0.0; groups],
        })
    }

    /// Quantizes a row with scales that leave the least squared error of those tried. `false` where a value is NaN or
    /// infinite.
    ///
    /// # Panics
    /// If the row has another width.
    pub fn quantize(&mut self, row: &[f32]) -> bool {
        assert_eq!(row.len(), self.values.len(), "a place for each value");
        if !row.iter().all(|value| value.is_finite()) {
            return false;
        }
        let size = row.len() / self.fitted.len();
        for (group, fitted) in row.chunks_exact(size).zip(&mut self.fitted) {
            *fitted = fitted_scale(group, &mut self.shares);
        }
        let largest = self.fitted.iter().fold(0.0_f32, |most, scale| most.max(scale.abs()));
        // A row of zeros has no scale of its own.
        self.scale = if largest > 0.0 { (largest / MOST_SCALE).max(f32::MIN_POSITIVE) } else { 1.0 };
        let groups = row.chunks_exact(size).zip(self.values.chunks_exact_mut(size));
        for ((group, values), (fitted, chosen)) in groups.zip(self.fitted.iter().zip(&mut self.group_scales))
        {
            let near = (fitted / self.scale).abs().round().clamp(1.0, MOST_SCALE);
            let counts = [near, near - 1.0, near + 1.0].into_iter();
            let counts = counts.filter(|count| (1.0..=MOST_SCALE).contains(count));
            let costs = counts.map(|count| {
                let count = count.copysign(*fitted);
                (error(group, count * self.scale) * count * count, count)
            });
            let best = costs.min_by(|(a, _), (b, _)| a.total_cmp(b));
            let (_, count) = best.expect("the nearest count is always tried");
            *chosen = count as i8;
            let scale = count * self.scale;
            values.iter_mut().zip(group).for_each(|(out, value)| *out = rounded(value / scale) as i8);
        }
        true
    }

    /// Appends the row to `out`, widened.
    pub fn widen(&self, out: &mut Vec<f32>) {
        widen(&self.values, &self.group_scales, self.scale, out);
    }
}

/// Appends values to `out`, each times the scale of its group and of the row.
pub(super) fn widen(values: &[i8], group_scales: &[i8], scale: f32, out: &mut Vec<f32>) {
    let groups = values.chunks_exact(values.len() / group_scales.len().max(1)).zip(group_scales);
    for (values, count) in groups {
        let scale = f32::from(*count) * scale;
        out.extend(values.iter().map(|value| f32::from(*value) * scale));
    }
}

/// Appends two rows to `out` as bytes, the first in the lower halves.
pub(super) fn pack([low, high]: [&[i8]; 2], out: &mut Vec<u8>) {
    out.extend(low.iter().zip(high).map(|(low, high)| (*low as u8 & 0xf) | ((*high as u8) << 4)));
}

/// The two rows of packed bytes.
pub(super) fn unpack(bytes: &[u8], [low, high]: [&mut Vec<i8>; 2]) {
    low.clear();
    low.extend(bytes.iter().map(|byte| ((byte << 4) as i8) >> 4));
    high.clear();
    high.extend(bytes.iter().map(|byte| (*byte as i8) >> 4));
}

/// The scale that fits a group best; 0 for zeros.
fn fitted_scale(group: &[f32], shares: &mut Vec<f32>) -> f32 {
    let further = |far: f32, value: &f32| if value.abs() > far.abs() { *value } else { far };
    let far = group.iter().fold(0.0, further);
    if far == 0.0 {
        return 0.0;
    }
    shares.clear();
    shares.extend(group.iter().map(|value| value / far));
    let (mut most, mut fitted) = (0.0, 0.0);
    for reach in REACHES {
        // The scale that fits these rounded values best, and what it takes off the squared error of none.
        let (dot, squares) = sums(shares, reach);
        let gain = dot * dot / squares;
        if gain > most {
            (most, fitted) = (gain, dot / squares);
        }
    }
    fitted * far
}

/// Sums over the rounded values when the furthest lies at `reach`: with the values, and of their squares.
fn sums(shares: &[f32], reach: f32) -> (f32, f32) {
    let (mut dots, mut squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for part in shares.chunks(LANES) {
        for ((share, dot), square) in part.iter().zip(&mut dots).zip(&mut squares) {
            let rounded = rounded(share * reach);
            *dot += rounded * share;
            *square += rounded * rounded;
        }
    }
    (dots.iter().sum(), squares.iter().sum())
}

/// The squared error that a scale leaves, over its own square.
fn error(group: &[f32], scale: f32) -> f32 {
    let mut squares = [0.0_f32; LANES];
    for part in group.chunks(LANES) {
        for (value, square) in part.iter().zip(&mut squares) {
            let steps = value / scale;
            let off = rounded(steps) - steps;
            *square += off * off;
        }
    }
    squares.iter().sum()
}

/// The nearest whole number of int4.
fn rounded(value: f32) -> f32 {
    (value.clamp(VALUES[0], VALUES[1]) + MAGIC) - MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(row: &[f32], values: &[i8], group_scales: &[i8], scale: f32) {
        let mut found = Int4Row::new(row.len()).expect("it divides");
        assert!(found.quantize(row));
        assert_eq!(found.values, values);
        assert_eq!(found.group_scales, group_scales);
        assert!((found.scale - scale).abs() <= scale * 1e-6, "{} against {scale}", found.scale);
    }

    #[test]
    fn groups_have_the_scale_that_fits() {
        // The furthest value of the first group lies at -8 by a negative scale; the second group is ten times smaller.
        let first = [8.0, -7.0, 3.0, 1.0, 0.0, -5.0, 2.0, 6.0].repeat(2);
        let second: Vec<f32> = first.iter().map(|value| value / 10.0).collect();
        let values = [-8, 7, -3, -1, 0, 5, -2, -6].repeat(4);
        check(&[first, second].concat(), &values, &[-127, -13], 1.0 / 127.0);
        check(&[0.0; 8], &[0; 8], &[1], 1.0);
        check(&[1e-44; 8], &[0; 8], &[-1], f32::MIN_POSITIVE);
        let mut row = Int4Row::new(16).expect("it divides");
        assert!(!row.quantize(&[f32::NAN; 16]) && !row.quantize(&[f32::INFINITY; 16]));
        // Squares of such numbers have no f32.
        let mut wide = Vec::new();
        assert!(row.quantize(&[1e38; 16]));
        row.widen(&mut wide);
        assert!(wide.iter().all(|value| (value / 1e38 - 1.0).abs() < 1e-6), "{wide:?}");
    }

    #[test]
    fn rows_divide_into_groups_of_8_to_16() {
        let check = |width: usize, groups: Option<usize>| assert_eq!(group_count(width), groups, "{width}");
        check(768, Some(48));
        check(3 * 14 * 14, Some(42));
        check(27, Some(3));
        check(147, None);
        check(7, None);
        check(37, None);
        check(0, None);
    }

    #[test]
    fn bytes_hold_two_rows() {
        let rows: [Vec<i8>; 2] = [vec![-8, -1, 0, 7], vec![7, -8, 1, -2]];
        let mut bytes = Vec::new();
        pack([&rows[0], &rows[1]], &mut bytes);
        assert_eq!(bytes, [0x78, 0x8f, 0x10, 0xe7]);
        let [mut low, mut high] = [Vec::new(), Vec::new()];
        unpack(&bytes, [&mut low, &mut high]);
        assert_eq!([low, high], rows);
    }

    #[test]
    fn short_groups_leave_less_error_than_plain_rounding() {
        // Numbers near a normal distribution: sums of twelve.
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        let row: Vec<f32> = (0..4096).map(|_| (0..12).map(|_| next()).sum::<f32>() - 6.0).collect();
        let share = |found: &[f32]| {
            let errors = found.iter().zip(&row).map(|(found, value)| f64::from(found - value).powi(2));
            errors.sum::<f64>() / row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>()
        };
        let (mut quantized, mut wide) = (Int4Row::new(row.len()).expect("it divides"), Vec::new());
        assert!(quantized.quantize(&row));
        quantized.widen(&mut wide);
        // To -7..=7 in groups of 32, the furthest value at 7: as many bits with scales of f16.
        let plain = row.chunks(32).flat_map(|group| {
            let scale = group.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 7.0;
            group.iter().map(move |value| (value / scale).round_ties_even() * scale)
        });
        let [found, plain] = [share(&wide), share(&plain.collect::<Vec<_>>())];
        assert!(found < 0.006 && found < 0.65 * plain, "{found} against {plain}");
    }
}
