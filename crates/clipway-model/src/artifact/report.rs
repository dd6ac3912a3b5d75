//! The report of a verification, as stored in an artifact.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Result of a verification. It passes if every stage passes, both sides distinguish inputs, and rankings agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Whether everything passed.
    pub passed: bool,
    /// What was verified, and how it was read.
    pub subject: String,
    /// What it was compared with: the source, as people know it.
    pub reference: String,
    /// Number of images compared.
    pub images: usize,
    /// Number of texts compared.
    pub texts: usize,
    /// What the images and texts are, such as `built-in probes`.
    pub inputs: String,
    /// The stages, in the order of computation.
    pub stages: Vec<Stage>,
    /// 1 minus the smallest cosine between features of two images, on the less sensitive side.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image_sensitivity: Option<f64>,
    /// The same for texts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text_sensitivity: Option<f64>,
    /// Number of images whose best text is the same on both sides, and number of images.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_best_text: Option<[usize; 2]>,
    /// Number of texts whose best image is the same on both sides, and number of texts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_best_image: Option<[usize; 2]>,
    /// Failures other than stages.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub failures: Vec<String>,
    /// What a user should know about a folder that passed: where its library's images or texts differ from the
    /// source's. An export moves them to the notes of its artifact.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

impl Report {
    /// Adds stages that were compared besides.
    pub fn add(&mut self, stages: impl IntoIterator<Item = Stage>) {
        self.stages.extend(stages);
        self.passed &= self.stages.iter().all(|stage| stage.passed);
    }

    /// The first stage that failed.
    pub fn first_bad_stage(&self) -> Option<&Stage> {
        self.stages.iter().find(|s| !s.passed)
    }

    /// The result, with every failed stage and the reason.
    pub fn explanation(&self) -> String {
        let mut text = self.summary();
        for stage in self.stages.iter().filter(|stage| !stage.passed) {
            let _ = write!(text, "\n  {}: {}", stage.name, stage.reason.as_deref().unwrap_or_default());
        }
        for failure in &self.failures {
            let _ = write!(text, "\n  {failure}");
        }
        if !self.passed {
            self.notes.iter().for_each(|note| _ = write!(text, "\n  note: {note}"));
        }
        text
    }

    /// A one-line summary of the result.
    pub fn summary(&self) -> String {
        let verdict = if self.passed { "verified" } else { "NOT verified" };
        let Report { subject, reference, images, texts, .. } = self;
        let mut text = format!("{verdict}: {subject} against {reference}, {images} images and {texts} texts");
        let cosines = self.stages.iter().filter_map(|s| s.cosine);
        if let Some(cosine) = cosines.reduce(f64::min) {
            let _ = write!(text, ", smallest cosine {cosine:.7}");
        }
        if let Some(stage) = self.first_bad_stage() {
            let _ = write!(text, "; first failed stage: {}", stage.name);
        }
        text
    }
}

/// A named tolerance: how far apart two results may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Name, such as `f32` or `fp16`.
    pub name: String,
    /// Largest absolute difference, relative to the reference's largest absolute value.
    pub relative: f64,
    /// Smallest cosine of two rows.
    pub cosine: f64,
    /// Smallest share of rankings with the same first place.
    pub rankings: f64,
}

impl Tolerance {
    fn new(name: &str, relative: f64, cosine: f64, rankings: f64) -> Tolerance {
        Tolerance { name: name.to_owned(), relative, cosine, rankings }
    }

    /// Bit-identical: pixels and token ids.
    pub fn exact() -> Tolerance {
        Tolerance::new("exact", 0.0, 1.0, 1.0)
    }

    /// The same weights, computed twice in f32.
    pub fn f32() -> Tolerance {
        Tolerance::new("f32", 2e-5, 0.999_999, 1.0)
    }

    /// Weights rounded to fp16 (11 significant bits).
    pub fn fp16() -> Tolerance {
        Tolerance::new("fp16", 1e-2, 0.9999, 0.9)
    }

    /// Weights rounded to bf16 (8 significant bits).
    pub fn bf16() -> Tolerance {
        Tolerance::new("bf16", 6e-2, 0.999, 0.8)
    }
}

impl Tolerance {
    /// Weights and inputs of products rounded to int8, with scales.
    pub fn int8() -> Tolerance {
        Tolerance::new("int8", 0.25, 0.98, 0.8)
    }

    /// Weights rounded to int4, with scales of groups.
    pub fn int4() -> Tolerance {
        Tolerance::new("int4", 0.5, 0.95, 0.7)
    }
}

/// One stage of a verification: what was compared, and how far apart it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Name: `pixels`, `tokens`, `image features`, `text features`, `logits`, or a block's name.
    pub name: String,
    /// Whether it is within the tolerance.
    pub passed: bool,
    /// The reason, if not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The tolerance applied.
    pub tolerance: Tolerance,
    /// Number of values compared.
    pub compared: usize,
    /// Largest absolute difference.
    pub worst: f64,
    /// The same, relative to the reference's largest absolute value.
    pub worst_relative: f64,
    /// Row and column of that difference.
    pub worst_at: [usize; 2],
    /// The reference's and the subject's value there.
    pub worst_values: [f64; 2],
    /// Smallest cosine of two rows; absent if rows are not vectors.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cosine: Option<f64>,
    /// 1 minus the cosine of each row, of the first ones; empty if rows are not vectors.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub losses: Vec<f64>,
}
