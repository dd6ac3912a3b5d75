//! A verification's result: stages, sensitivity and rankings, with what was compared.

use clipway_model::artifact::{Report, Stage, Tolerance};

use super::compare::{Pair, compare, same_first, sensitivity};
use super::outputs::Outputs;

/// Outputs of distinct inputs that are closer than this (1 minus cosine) count as constant.
const LEAST_SENSITIVITY: f64 = 1e-9;

/// Compares a subject's outputs with its reference's on the same inputs. It passes if every stage passes, both sides
/// distinguish inputs, and rankings agree.
pub fn report(reference: &Outputs, subject: &Outputs, tolerance: &Tolerance) -> Report {
    let mut stages = Vec::new();
    let mut failures = Vec::new();
    let mut stage =
        |name: &str, values: [Option<&Rows>; 2], tolerance: &Tolerance, vectors: bool| match values {
            [Some(r), Some(s)] if r.width == s.width => {
                stages.push(compare(name, r.pair(s), tolerance.clone(), vectors));
            }
            [Some(r), Some(s)] => {
                failures.push(format!("{name}: rows of {} values against {}", s.width, r.width));
            }
            [Some(_), None] => failures.push(format!("{name}: only the reference has any")),
            [None, Some(_)] => failures.push(format!("{name}: only the folder has any")),
            [None, None] => {}
        };
    stage("pixels", [reference.pixels.as_ref(), subject.pixels.as_ref()], &Tolerance::exact(), false);
    stage("tokens", [reference.tokens.as_ref(), subject.tokens.as_ref()], &Tolerance::exact(), false);
    for (name, rows) in &reference.blocks {
        let other = subject.blocks.iter().find(|(n, _)| n == name).map(|(_, rows)| rows);
        stage(name, [Some(rows), other], tolerance, false);
    }
    stage(
        "image features",
        [reference.image_features.as_ref(), subject.image_features.as_ref()],
        tolerance,
        true,
    );
    stage(
        "text features",
        [reference.text_features.as_ref(), subject.text_features.as_ref()],
        tolerance,
        true,
    );
    stage("logits", [reference.logits.as_ref(), subject.logits.as_ref()], tolerance, false);

    let mut told_apart = |what: &str, r: &Option<Rows>, s: &Option<Rows>| {
        let (r, s) = alike(r, s)?;
        let found = sensitivity(r.pair(s))?;
        if found < LEAST_SENSITIVITY {
            failures.push(format!("{what} features are the same for every input"));
        }
        Some(found)
    };
    let image_sensitivity = told_apart("image", &reference.image_features, &subject.image_features);
    let text_sensitivity = told_apart("text", &reference.text_features, &subject.text_features);
    let logits = alike(&reference.logits, &subject.logits);
    let same_best_text = logits.map(|(r, s)| same_first(r.pair(s)));
    let same_best_image = logits.map(|(r, s)| same_first(r.transposed().pair(&s.transposed())));
    for (what, count) in [("text", same_best_text), ("image", same_best_image)] {
        if let Some([agree, of]) =
            count.filter(|[agree, of]| (*agree as f64) < tolerance.rankings * *of as f64)
        {
            failures.push(format!("the best {what} is the same in only {agree} of {of} rankings"));
        }
    }
    for (tower, [there, compared]) in [
        ("image", [subject.towers[0], subject.image_features.is_some()]),
        ("text", [subject.towers[1], subject.text_features.is_some()]),
    ] {
        if there && !compared {
            failures.push(format!("the {tower} tower was not run: there are no inputs for it"));
        }
    }
    if !stages.iter().any(|s| s.name.ends_with("features")) {
        failures.push("no features were compared".to_owned());
    }
    Report {
        passed: failures.is_empty() && stages.iter().all(|s| s.passed),
        subject: subject.name.clone(),
        reference: reference.name.clone(),
        images: reference.images,
        texts: reference.texts,
        inputs: reference.inputs.clone(),
        stages,
        image_sensitivity,
        text_sensitivity,
        same_best_text,
        same_best_image,
        failures,
        notes: Vec::new(),
    }
}

/// Compares two matrices as one stage.
pub(crate) fn compare_rows(name: &str, reference: &Rows, subject: &Rows, tolerance: &Tolerance) -> Stage {
    compare(name, reference.pair(subject), tolerance.clone(), true)
}

/// Both sides' results, where both have as many.
fn alike<'a>(reference: &'a Option<Rows>, subject: &'a Option<Rows>) -> Option<(&'a Rows, &'a Rows)> {
    reference.as_ref().zip(subject.as_ref()).filter(|(r, s)| r.values.len() == s.values.len())
}

/// A matrix of results: rows of equal width.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The values, row by row.
    pub values: Vec<f32>,
    /// Number of values in a row.
    pub width: usize,
}

impl Rows {
    fn pair<'a>(&'a self, subject: &'a Rows) -> Pair<'a> {
        Pair { reference: &self.values, subject: &subject.values, width: self.width }
    }

    /// The matrix with rows and columns exchanged.
    pub fn transposed(&self) -> Rows {
        let height = self.values.len().checked_div(self.width).unwrap_or(0);
        let columns = (0..self.width).flat_map(|c| (0..height).map(move |r| r * self.width + c));
        Rows { values: columns.map(|at| self.values[at]).collect(), width: height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> Outputs {
        let rows = |values: &[f32]| Some(Rows { values: values.to_vec(), width: 2 });
        Outputs {
            name: "a model".to_owned(),
            inputs: "two of each".to_owned(),
            towers: [true, true],
            images: 2,
            texts: 2,
            pixels: rows(&[0.5, 0.25, 1.0, 0.0]),
            tokens: rows(&[1.0, 2.0, 3.0, 4.0]),
            blocks: Vec::new(),
            image_features: rows(&[1.0, 0.0, 0.0, 1.0]),
            text_features: rows(&[0.9, 0.1, 0.2, 0.8]),
            logits: rows(&[0.9, 0.2, 0.1, 0.8]),
        }
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Outputs), passed: bool, explanation: &str) {
        let mut subject = outputs();
        change(&mut subject);
        let report = super::report(&outputs(), &subject, &Tolerance::f32());
        assert_eq!(report.passed, passed, "{report:?}");
        assert!(report.explanation().contains(explanation), "{}", report.explanation());
    }

    #[test]
    fn a_failure_says_what_is_known_of_its_cause() {
        let mut subject = outputs();
        subject.image_features.as_mut().unwrap().values[0] = 0.5;
        let mut report = super::report(&outputs(), &subject, &Tolerance::f32());
        report.notes.push("this folder resizes differently".to_owned());
        assert!(report.explanation().ends_with("note: this folder resizes differently"));
        let mut right = super::report(&outputs(), &outputs(), &Tolerance::f32());
        right.notes.push("this folder resizes differently".to_owned());
        assert!(!right.explanation().contains("note"), "{}", right.explanation());
    }

    #[test]
    fn whatever_is_not_the_same_fails_and_is_named() {
        let values =
            |rows: &mut Option<Rows>, values: &[f32]| rows.as_mut().unwrap().values = values.to_vec();
        check(
            |_| {},
            true,
            "verified: a model against a model, 2 images and 2 texts, smallest cosine 1.0000000",
        );
        check(|s| values(&mut s.pixels, &[0.5, 0.25, 1.0, 1e-9]), false, "first failed stage: pixels");
        check(|s| values(&mut s.tokens, &[1.0, 2.0, 3.0, 5.0]), false, "first failed stage: tokens");
        check(
            |s| values(&mut s.image_features, &[1.0, 0.0, 0.1, 1.0]),
            false,
            "first failed stage: image features",
        );
        check(|s| values(&mut s.text_features, &[0.9, 0.1, 0.9, 0.1]), false, "the same for every input");
        check(|s| values(&mut s.logits, &[0.9, 0.95, 0.1, 0.8]), false, "the same in only 1 of 2 rankings");
        check(|s| s.text_features = None, false, "text features: only the reference has any");
        check(|s| s.image_features = None, false, "the image tower was not run");
        check(|s| s.logits = None, false, "logits: only the reference has any");
        check(|s| s.pixels.as_mut().unwrap().width = 4, false, "pixels: rows of 4 values against 2");
    }

    #[test]
    fn nothing_compared_is_no_proof() {
        let mut empty = outputs();
        empty.towers = [false, false];
        for rows in
            [&mut empty.pixels, &mut empty.tokens, &mut empty.image_features, &mut empty.text_features]
        {
            *rows = None;
        }
        empty.logits = None;
        let report = super::report(&empty, &empty, &Tolerance::f32());
        assert!(!report.passed);
        assert_eq!(report.failures, ["no features were compared"]);
    }
}
