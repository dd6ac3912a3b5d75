//! Reduces rows to one.

/// The mean of each channel; NaN if there are no rows, as in PyTorch.
pub(super) fn mean<'a>(rows: impl Iterator<Item = &'a [f32]>, out: &mut [f32]) {
    let mut sums = vec![0.0f64; out.len()];
    let mut count = 0.0;
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        count += 1.0;
    }
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / count) as f32);
}

/// The maximum of each channel: NaN if any value is, negative infinity if there are no rows.
pub(super) fn largest<'a>(rows: impl Iterator<Item = &'a [f32]>, out: &mut [f32]) {
    out.fill(f32::NEG_INFINITY);
    for row in rows {
        out.iter_mut().zip(row).for_each(|(most, value)| {
            if *value > *most || value.is_nan() {
                *most = *value;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_one() {
        let mut out = [0.0; 2];
        mean([[1.0, 2.0].as_slice(), &[4.0, -8.0]].into_iter(), &mut out);
        assert_eq!(out, [2.5, -3.0]);
        largest([[1.0, -9.0].as_slice(), &[4.0, -8.0]].into_iter(), &mut out);
        assert_eq!(out, [4.0, -8.0]);
        largest([[f32::NAN, -9.0].as_slice(), &[4.0, -8.0]].into_iter(), &mut out);
        assert!(out[0].is_nan() && out[1] == -8.0, "{out:?}");
    }

    #[test]
    fn no_rows_are_told() {
        let mut out = [0.0; 2];
        mean(std::iter::empty(), &mut out);
        assert!(out.iter().all(|value| value.is_nan()), "{out:?}");
        largest(std::iter::empty(), &mut out);
        assert_eq!(out, [f32::NEG_INFINITY; 2]);
    }
}
