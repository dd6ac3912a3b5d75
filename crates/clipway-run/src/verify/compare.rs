//! Compares two results by value, by row and by ranking.

use clipway_model::artifact::{Stage, Tolerance};

/// Two results of the same shape, as rows of equal width.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// The reference values.
    pub reference: &'a [f32],
    /// The verified values.
    pub subject: &'a [f32],
    /// Number of values in a row.
    pub width: usize,
}

/// Most rows whose losses a report keeps.
const KEPT_LOSSES: usize = 64;

/// Compares two results. NaN anywhere fails, and so does comparing nothing or different lengths.
pub fn compare(name: &str, pair: Pair<'_>, tolerance: Tolerance, rows_are_vectors: bool) -> Stage {
    let mut stage = Stage {
        name: name.to_owned(),
        passed: false,
        reason: None,
        tolerance,
        compared: 0,
        worst: 0.0,
        worst_relative: 0.0,
        worst_at: [0, 0],
        worst_values: [0.0, 0.0],
        cosine: None,
        losses: Vec::new(),
    };
    let Pair { reference, subject, width } = pair;
    if reference.len() != subject.len() || width == 0 {
        stage.reason = Some(format!("{} values against {}", subject.len(), reference.len()));
        return stage;
    }
    if reference.is_empty() {
        stage.reason = Some("nothing was compared".to_owned());
        return stage;
    }
    stage.compared = reference.len();
    let bad = |value: &f32| !value.is_finite();
    if let Some(at) = reference.iter().zip(subject).position(|(r, s)| bad(r) || bad(s)) {
        stage.worst_at = [at / width, at % width];
        stage.worst_values = [f64::from(reference[at]), f64::from(subject[at])];
        let [r, s] = stage.worst_values;
        let (row, column) = (at / width, at % width);
        stage.reason = Some(format!("not a number at [{row}, {column}]: {s} against {r}"));
        return stage;
    }
    let mut largest = 0.0_f64;
    for (at, (&r, &s)) in reference.iter().zip(subject).enumerate() {
        let (r, s) = (f64::from(r), f64::from(s));
        largest = largest.max(r.abs());
        if (r - s).abs() > stage.worst {
            stage.worst = (r - s).abs();
            stage.worst_at = [at / width, at % width];
            stage.worst_values = [r, s];
        }
    }
    stage.worst_relative = if stage.worst == 0.0 { 0.0 } else { stage.worst / largest };
    if rows_are_vectors {
        let rows = reference.chunks_exact(width).zip(subject.chunks_exact(width));
        let cosines: Vec<f64> = rows.map(|(r, s)| cosine(r, s)).collect();
        stage.losses = cosines.iter().take(KEPT_LOSSES).map(|cosine| 1.0 - cosine).collect();
        stage.cosine = cosines.into_iter().reduce(f64::min);
    }
    let relative = stage.worst_relative <= stage.tolerance.relative;
    let angle = stage.cosine.is_none_or(|c| c >= stage.tolerance.cosine);
    stage.passed = relative && angle;
    if !relative {
        let [row, column] = stage.worst_at;
        let [r, s] = stage.worst_values;
        stage.reason = Some(format!("worst at [{row}, {column}]: {s} against {r}"));
    } else if !angle {
        let cosine = stage.cosine.unwrap_or_default();
        stage.reason = Some(format!(
            "the smallest cosine of two rows is {cosine}; it must be {}",
            stage.tolerance.cosine
        ));
    }
    stage
}

/// Cosine of the angle between two vectors; 0 if either has length 0.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum() };
    if a == b && a.iter().any(|&x| x != 0.0) {
        return 1.0;
    }
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { (dot(a, b) / norms).min(1.0) } else { 0.0 }
}

/// Whether results distinguish their inputs, and by how much: 1 minus the smallest cosine of two rows, on the less
/// sensitive side. `None` with fewer than two rows.
pub fn sensitivity(pair: Pair<'_>) -> Option<f64> {
    let spread = |values: &[f32]| -> Option<f64> {
        let rows: Vec<&[f32]> = values.chunks_exact(pair.width).collect();
        let others = rows.iter().skip(1).map(|row| 1.0 - cosine(rows[0], row));
        others.reduce(f64::max)
    };
    Some(spread(pair.reference)?.min(spread(pair.subject)?))
}

/// How many rows of two score matrices have the same best column.
pub fn same_first(pair: Pair<'_>) -> [usize; 2] {
    let rows = pair.reference.chunks_exact(pair.width).zip(pair.subject.chunks_exact(pair.width));
    let agree = rows.clone().filter(|(r, s)| highest(r) == highest(s)).count();
    [agree, rows.count()]
}

/// Index of the first highest value.
pub fn highest(values: &[f32]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (index, value) in values.iter().enumerate() {
        if best.is_none_or(|b| *value > values[b]) {
            best = Some(index);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reference: &[f32], subject: &[f32], tolerance: Tolerance, passed: bool, reason: &str) {
        let stage = compare("stage", Pair { reference, subject, width: 2 }, tolerance, true);
        assert_eq!(stage.passed, passed, "{stage:?}");
        assert_eq!(stage.reason.as_deref().unwrap_or(""), reason);
    }

    #[test]
    fn equal_passes_and_everything_else_says_why() {
        check(&[1.0, 2.0], &[1.0, 2.0], Tolerance::exact(), true, "");
        check(&[1.0, 2.0], &[1.0, 2.00001], Tolerance::f32(), true, "");
        check(
            &[1.0, 2.0],
            &[1.0, 2.001],
            Tolerance::f32(),
            false,
            "worst at [0, 1]: 2.000999927520752 against 2",
        );
        check(&[1.0, 2.0], &[1.0, 2.001], Tolerance::fp16(), true, "");
        check(&[], &[], Tolerance::f32(), false, "nothing was compared");
        check(&[1.0, 2.0], &[1.0], Tolerance::f32(), false, "1 values against 2");
        check(
            &[1.0, 2.0],
            &[f32::NAN, 2.0],
            Tolerance::bf16(),
            false,
            "not a number at [0, 0]: NaN against 1",
        );
        check(
            &[f32::NAN, 2.0],
            &[f32::NAN, 2.0],
            Tolerance::bf16(),
            false,
            "not a number at [0, 0]: NaN against NaN",
        );
        check(&[1.0, 0.0], &[-1.0, 0.0], Tolerance::bf16(), false, "worst at [0, 0]: -1 against 1");
    }

    #[test]
    fn a_turned_row_fails_by_its_cosine() {
        let (reference, subject) = ([100.0, 0.0, 0.01, 0.0], [100.0, 0.0, 0.0, 0.01]);
        let reason = "the smallest cosine of two rows is 0; it must be 0.9999";
        check(&reference, &subject, Tolerance::fp16(), false, reason);
    }

    #[test]
    fn sensitivity_is_zero_for_a_constant_output() {
        let constant = [1.0, 2.0, 1.0, 2.0];
        let varied = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(sensitivity(Pair { reference: &constant, subject: &varied, width: 2 }), Some(0.0));
        assert_eq!(sensitivity(Pair { reference: &varied, subject: &varied, width: 2 }), Some(1.0));
        assert_eq!(sensitivity(Pair { reference: &varied[..2], subject: &varied[..2], width: 2 }), None);
    }

    #[test]
    fn rankings_are_counted_row_by_row() {
        let reference = [0.1, 0.9, 0.8, 0.2];
        let subject = [0.2, 0.7, 0.3, 0.4];
        assert_eq!(same_first(Pair { reference: &reference, subject: &subject, width: 2 }), [1, 2]);
    }
}
