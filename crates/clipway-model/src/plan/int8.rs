//! Rows in int8: symmetric, each with a scale.

/// The greatest quantized value; -128 is not used, so that both signs reach equally far.
pub(super) const MOST: f32 = 127.0;

/// Shares of a row's greatest magnitude at which values are cut off, of which the best is taken.
const CUTS: [f32; 5] = [1.0, 0.95, 0.88, 0.8, 0.7];

/// Added to a number below 2^22 and subtracted again, it leaves the nearest integer, ties to even.
pub(super) const MAGIC: f32 = (3_u32 << 22) as f32;

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
    let mut best: Option<(f64, f32)> = None;
    for cut in CUTS {
        let start = (most * cut / MOST).max(f32::MIN_POSITIVE);
        // The scale that fits the rounded values best.
        let (mut dot, mut squares) = (0.0_f64, 0.0_f64);
        for value in row {
            let rounded = f64::from(rounded(*value, start));
            dot += rounded * f64::from(*value);
            squares += rounded * rounded;
        }
        let fitted = (dot / squares) as f32;
        let scale = if fitted.is_normal() { fitted } else { start };
        let error = |value: &f32| {
            let found = f64::from(rounded(*value, scale)) * f64::from(scale);
            (found - f64::from(*value)).powi(2)
        };
        let error = row.iter().map(error).sum::<f64>();
        if best.is_none_or(|(least, _)| error < least) {
            best = Some((error, scale));
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

/// A value over a scale, as the nearest whole number of int8.
fn rounded(value: f32, scale: f32) -> f32 {
    ((value / scale).clamp(-MOST, MOST) + MAGIC) - MAGIC
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
