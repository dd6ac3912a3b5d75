//! Resizes position embeddings, as open_clip does when it loads a checkpoint.
//!
//! Image grids: a separable filter with antialiasing, whose support grows with the shrinking factor, as in Pillow: bicubic
//! with `a = -0.5` (R. Keys, "Cubic Convolution Interpolation", 1981), or bilinear as SigLIP 2 has it. Text rows, and image
//! tables of one axis: linear without antialiasing. All place pixel centers at halves.

use crate::graph::{GridChange, GridFilter};

/// Weights of the inputs for one output sample.
struct Window {
    first: usize,
    weights: Vec<f32>,
}

/// Resamples positions `[prefix + rows · columns, width]` to another grid.
///
/// # Panics
/// If `values` has another size.
pub fn resample_grid(values: &[f32], change: GridChange, width: usize) -> Vec<f32> {
    let GridChange { prefix, from, to, filter, .. } = change;
    let whole = change.resampled();
    assert_eq!(values.len(), (prefix + from[0] * from[1]) * width, "the shape was checked");
    let (kept, grid) = values.split_at(prefix * width);
    // Columns first, then rows; each as a map [before, length, after].
    let [down, across] = [0, 1].map(|axis| windows(filter, from[axis], whole[axis]));
    let columns = resample_axis(grid, [from[0], from[1], width], &across[..to[1]]);
    let rows = resample_axis(&columns, [1, from[0], to[1] * width], &down[..to[0]]);
    [kept, &rows].concat()
}

/// Resamples a table of offsets within windows, `[(2 · height - 1) · (2 · width - 1), heads]`, to another window size,
/// as timm does (after BEiT, <https://arxiv.org/abs/2106.08254>): the stored offsets are spaced geometrically to reach
/// the farthest new one, with linear interpolation between them.
///
/// # Panics
/// If `values` has another size.
pub fn resample_distances(values: &[f32], [from, to]: [[usize; 2]; 2], heads: usize) -> Vec<f32> {
    let [rows, columns] = from.map(|side| 2 * side - 1);
    assert_eq!(values.len(), rows * columns * heads, "the shape was checked");
    let across = resample_axis(values, [rows, columns, heads], &distance_windows(from[1], to[1]));
    resample_axis(&across, [1, rows, (2 * to[1] - 1) * heads], &distance_windows(from[0], to[0]))
}

/// For each offset along a side of the new window, the two stored ones around it.
fn distance_windows(from: usize, to: usize) -> Vec<Window> {
    let (stored, wanted) = (from as i32 - 1, to as i32 - 1);
    // timm's own search for the ratio, with its bounds and precision.
    let (mut low, mut high, mut ratio) = (1.01f64, 1.5f64, 1.01f64);
    while high - low > 1e-6 {
        ratio = (low + high) / 2.0;
        let reach = (1.0 - ratio.powi(stored)) / (1.0 - ratio);
        if reach > f64::from(wanted) {
            high = ratio;
        } else {
            low = ratio;
        }
    }
    let mut places = vec![0.0f64];
    let mut place = 1.0;
    for step in 0..stored {
        places.push(place);
        place += ratio.powi(step + 1);
    }
    let below = places[1..].iter().rev().map(|place| -place);
    let places: Vec<f64> = below.chain(places.iter().copied()).collect();
    let window = |distance: i32| {
        let distance = f64::from(distance);
        let after = places.partition_point(|&place| place < distance);
        if after == 0 || after == places.len() {
            // Beyond the ends, the last one is used.
            return Window { first: after.min(places.len() - 1), weights: vec![1.0] };
        }
        let (left, right) = (places[after - 1], places[after]);
        let weight = (distance - left) / (right - left);
        Window { first: after - 1, weights: vec![(1.0 - weight) as f32, weight as f32] }
    };
    (-wanted..=wanted).map(window).collect()
}

/// Resamples `[from, width]` to `to` rows.
///
/// # Panics
/// If `values` has another size.
pub(super) fn resample_rows(values: &[f32], from: usize, to: usize, width: usize) -> Vec<f32> {
    assert_eq!(values.len(), from * width, "the shape was checked");
    resample_axis(values, [1, from, width], &linear_windows(from, to))
}

/// Resamples the middle axis of `[before, length, after]`.
fn resample_axis(values: &[f32], [before, length, after]: [usize; 3], windows: &[Window]) -> Vec<f32> {
    let mut out = Vec::with_capacity(before * windows.len() * after);
    for block in values.chunks_exact((length * after).max(1)).take(before) {
        for window in windows {
            let start = out.len();
            out.resize(start + after, 0.0);
            let rows = block.chunks_exact(after).skip(window.first);
            for (row, weight) in rows.zip(&window.weights) {
                for (sum, value) in out[start..].iter_mut().zip(row) {
                    *sum += value * weight;
                }
            }
        }
    }
    out
}

fn windows(filter: GridFilter, from: usize, to: usize) -> Vec<Window> {
    let (kernel, reach): (fn(f64) -> f64, f64) = match filter {
        GridFilter::Bicubic => (cubic, 2.0),
        GridFilter::Bilinear => (triangle, 1.0),
        GridFilter::Linear => return linear_windows(from, to),
    };
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = reach * stretch;
    let window = |index: usize| {
        let center = scale * (index as f64 + 0.5);
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let weights: Vec<f64> = (first..end).map(|at| kernel((at as f64 - center + 0.5) / stretch)).collect();
        let total: f64 = weights.iter().sum();
        Window { first, weights: weights.into_iter().map(|weight| (weight / total) as f32).collect() }
    };
    (0..to).map(window).collect()
}

/// Keys' cubic convolution kernel with `a = -0.5`.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * A - 4.0 * A
    } else {
        0.0
    }
}

/// A triangle of width 2.
fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn linear_windows(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let window = |index: usize| {
        let position = (scale * (index as f64 + 0.5) - 0.5).max(0.0);
        let first = (position as usize).min(from - 1);
        let after = (position - first as f64) as f32;
        let weights = if first + 1 < from { vec![1.0 - after, after] } else { vec![1.0] };
        Window { first, weights }
    };
    (0..to).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: [f32; 4] = [1.5779029, 3.7382672, 1.7019854, 4.3387375];

    const LARGE: [f32; 16] = [
        -0.20622633,
        0.3744677,
        1.1917889,
        1.7333484,
        1.9246053,
        3.0188904,
        4.8016357,
        6.1552157,
        2.4143362,
        2.813_157,
        4.79251,
        7.1115146,
        0.95594794,
        -0.11375538,
        1.1701338,
        4.002_729,
    ];

    const BILINEAR_SMALL: [f32; 4] = [1.640_625_2, 3.593_750_2, 1.796_875_2, 4.140_625];

    const BILINEAR_WIDE: [f32; 10] = [1.125, 1.675, 2.5, 3.55, 4.25, 1.75, 1.8, 1.875, 4.050_000_7, 5.5];

    const THIRDS: [f32; 2] = [1.666_666_7, 15.0];

    const ROWS: [f32; 6] = [0.0, 5.0, 11.666668, 18.333336, 35.0, 50.0];

    #[test]
    fn resamples_as_torch_does() {
        // torch.nn.functional.interpolate of [[0, 1, 2], [3, 5, 8], [1, 0, 4]]:
        // mode="bicubic", antialias=True, to 2x2 and to 4x4; the values are torch 2.15's.
        let grid = [9.0, 0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 1.0, 0.0, 4.0];
        let check = |filter: GridFilter, to: [usize; 2], expected: &[f32]| {
            let found =
                resample_grid(&grid, GridChange { prefix: 1, from: [3, 3], to, filter, square: false }, 1);
            assert_eq!(found[0], 9.0);
            for (found, expected) in found[1..].iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-6, "{to:?}: {found} against {expected}");
            }
            assert_eq!(found.len(), expected.len() + 1);
        };
        check(GridFilter::Bicubic, [3, 3], &grid[1..]);
        check(GridFilter::Bicubic, [2, 2], &SMALL);
        check(GridFilter::Bicubic, [4, 4], &LARGE);
        // The same with mode="bilinear", to 2x2 and to 2x5.
        check(GridFilter::Bilinear, [3, 3], &grid[1..]);
        check(GridFilter::Bilinear, [2, 2], &BILINEAR_SMALL);
        check(GridFilter::Bilinear, [2, 5], &BILINEAR_WIDE);
        let rows = resample_rows(&[0.0, 10.0, 20.0, 50.0], 4, 6, 1);
        for (found, expected) in rows.iter().zip(ROWS) {
            // Two units in the last place of the largest value: torch weighs in f32.
            let bound = 1e-6 * expected.abs().max(1.0);
            assert!((found - expected).abs() <= bound, "{found} against {expected}");
        }
    }

    #[test]
    fn a_part_of_a_square_and_tables_of_one_axis_are_as_timm_has_them() {
        let check = |values: &[f32], from: [usize; 2], to: [usize; 2], square: bool, expected: &[f32]| {
            let change = GridChange { prefix: 0, from, to, filter: GridFilter::Linear, square };
            let found = resample_grid(values, change, 1);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-6, "{from:?} to {to:?}: {found} against {expected}");
            }
        };
        // torch.nn.functional.interpolate of [0, 10, 20, 50] to 2 and to 3, mode="linear"; the values are torch 2.15's.
        let table = [0.0, 10.0, 20.0, 50.0];
        check(&table, [4, 1], [2, 2], false, &[5.0, 5.0, 35.0, 35.0]);
        check(&table, [1, 4], [2, 2], false, &[5.0, 35.0, 5.0, 35.0]);
        check(
            &table,
            [4, 1],
            [2, 3],
            true,
            &[THIRDS[0], THIRDS[0], THIRDS[0], THIRDS[1], THIRDS[1], THIRDS[1]],
        );
        check(&table, [1, 4], [3, 1], true, &[THIRDS[0]; 3]);
        // The first rows and columns of the whole square, with any filter.
        let grid = [0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 1.0, 0.0, 4.0];
        let change =
            GridChange { prefix: 0, from: [3, 3], to: [2, 4], filter: GridFilter::Bicubic, square: true };
        let whole = resample_grid(&grid, GridChange { to: [4, 4], square: false, ..change }, 1);
        assert_eq!(resample_grid(&grid, change, 1), whole[..8]);
    }

    #[test]
    fn resamples_distances_as_timm_does() {
        // timm's resize_rel_pos_bias_table of the squares modulo 17 of 0 to 24, from windows of 3x3 to 4x2.
        let table: Vec<f32> = (0..25).map(|index| (index * index % 17) as f32).collect();
        let expected = [
            1.000000, 4.000000, 9.000000, 1.333333, 7.666662, 10.333332, 2.000000, 14.999999, 13.000001,
            2.000000, 8.000000, 16.000000, 1.000000, 0.000000, 1.000000, 11.000006, 5.333337, 1.666667,
            16.000000, 8.000000, 2.000000,
        ];
        let found = resample_distances(&table, [[3, 3], [4, 2]], 1);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-5, "{found} against {expected}");
        }
    }
}
