//! Rows in int8: symmetric, each with a scale.

/// The greatest quantized value; -128 is not used, so that both signs reach equally far.
pub(super) const MOST: f32 = 127.0;

/// Shares of a row's greatest magnitude at which values are cut off, of which the best is taken.
const CUTS: [f32; 5] = [1.0, 0.95, 0.88, 0.8, 0.7];

/// Added to a number below 2^22 and subtracted again, it leaves the nearest integer, ties to even.
pub(super) const MAGIC: f32 = (3_u32 << 22) as f32;

/// Number of sums that run side by side, so that their order is the same on every processor.
const LANES: usize = 8;

/// Values that are summed in f32: whole sums of squares of so few are exact.
const PART: usize = LANES * 64;

/// Quantizes a row to -127..=127 and returns its scale, which is above 0: the one of a few that leaves the least squared
/// error. `None` where a value is NaN or infinite.
///
/// # Panics
/// If `out` is not as long as `row`.
pub fn quantize_row(row: &[f32], out: &mut [i8]) -> Option<f32> {
    assert_eq!(row.len(), out.len(), "a place for each value");
    let most = row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    if !row.iter().all(|value| value.is_finite()) {
        return None;
    }
    // Shares of the greatest: sums of products of such numbers are within f32.
    let reach = most.max(f32::MIN_POSITIVE);
    let inverse = 1.0 / reach;
    let mut best: Option<(f64, f32)> = None;
    for cut in CUTS {
        // The scale that fits these rounded values best, and what it takes off the squared error of none.
        let (dot, squares) = sums(row, inverse, MOST / cut);
        let gain = dot * dot / squares;
        if best.is_none_or(|(most, _)| gain > most) {
            let fitted = (dot / squares * f64::from(reach)) as f32;
            let start = (most * cut / MOST).max(f32::MIN_POSITIVE);
            best = Some((gain, if fitted.is_normal() { fitted } else { start }));
        }
    }
    let scale = match best {
        Some((_, scale)) if most > 0.0 => scale,
        // A row of zeros has no scale of its own.
        _ => 1.0,
    };
    out.iter_mut().zip(row).for_each(|(out, value)| *out = rounded(*value, scale) as i8);
    Some(scale)
}

/// Sums over the rounded values when a row is multiplied by `inverse` and then by `steps`: with what was rounded before it was
/// multiplied by `steps`, and of their squares.
fn sums(row: &[f32], inverse: f32, steps: f32) -> (f64, f64) {
    let (mut dot, mut squares) = (0.0, 0.0);
    for part in row.chunks(PART) {
        let (mut dots, mut squared) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        for piece in part.chunks(LANES) {
            for ((value, dot), square) in piece.iter().zip(&mut dots).zip(&mut squared) {
                let share = value * inverse;
                let rounded = nearest(share * steps);
                *dot += rounded * share;
                *square += rounded * rounded;
            }
        }
        dot += dots.into_iter().map(f64::from).sum::<f64>();
        squares += squared.into_iter().map(f64::from).sum::<f64>();
    }
    (dot, squares)
}

/// A value over a scale, as the nearest whole number of int8.
fn rounded(value: f32, scale: f32) -> f32 {
    nearest(value / scale)
}

/// The nearest whole number of int8.
fn nearest(value: f32) -> f32 {
    (value.clamp(-MOST, MOST) + MAGIC) - MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(row: &[f32], expected: Option<(f32, &[i8])>) {
        let mut out = vec![9; row.len()];
        let scale = quantize_row(row, &mut out);
        match expected {
            None => assert_eq!(scale, None),
            Some((expected, values)) => {
                let scale = scale.expect("finite");
                assert!((scale - expected).abs() <= expected.abs() * 1e-6, "{scale} against {expected}");
                assert_eq!(out, values);
            }
        }
    }

    #[test]
    fn rows_are_quantized_to_the_least_squared_error() {
        check(&[1.27, -0.64, 0.0, 0.01], Some((0.01, &[127, -64, 0, 1])));
        check(&[0.0, 0.0], Some((1.0, &[0, 0])));
        check(&[1.0, f32::NAN], None);
        check(&[f32::NEG_INFINITY, 1.0], None);
        check(&[], Some((1.0, &[])));
        check(&[1e-44, 0.0], Some((f32::MIN_POSITIVE, &[0, 0])));
    }

    #[test]
    fn a_single_far_value_is_cut_where_that_costs_less() {
        // Many values near half a step, and one far off: the plain scale rounds all of them badly.
        let mut row = vec![0.45; 20_000];
        row[7] = 127.0;
        let error = |scale: f32, values: &[i8]| {
            let differences =
                values.iter().zip(&row).map(|(v, x)| f64::from(*v) * f64::from(scale) - f64::from(*x));
            differences.map(|difference| difference * difference).sum::<f64>()
        };
        let mut out = vec![0; row.len()];
        let scale = quantize_row(&row, &mut out).expect("finite");
        let plain: Vec<i8> = row.iter().map(|value| value.round() as i8).collect();
        assert!(error(scale, &out) < 0.9 * error(1.0, &plain), "{scale}");
    }
}
