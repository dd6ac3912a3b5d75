//! Whether two models give features of the same space.

use std::fmt;

use serde::Serialize;

use super::{Space, SpacePrecision, UnitFeature};
use crate::verify::cosine;

/// Whether features of two models can be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The same features, up to the rounding of their precision.
    Same,
    /// The same model at another precision: its features are near enough to search by.
    Twin,
    /// Features of another model, of other pixels or of other tokens.
    Other,
}

/// How two models agree. `Display` gives a sentence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// The verdict.
    pub verdict: Verdict,
    /// Smallest cosine at which the verdict is not [`Verdict::Other`].
    pub least_cosine: f64,
    /// Cosines of the features of the built-in images that both have; `None` if there are none.
    pub images: Option<ProbeAgreement>,
    /// The same of texts.
    pub texts: Option<ProbeAgreement>,
    /// What differs, one phrase each; empty for the same space.
    pub differences: Vec<String>,
}

/// Cosines of two models' features of the same inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProbeAgreement {
    /// Number of inputs.
    pub count: usize,
    /// Smallest cosine; NaN if a feature is not finite or of another width.
    pub worst: f64,
    /// Mean cosine.
    pub mean: f64,
}

impl ProbeAgreement {
    fn of(one: &[UnitFeature], two: &[UnitFeature]) -> Option<ProbeAgreement> {
        let cosines: Vec<f64> = one
            .iter()
            .zip(two)
            .map(|(one, two)| {
                let (one, two) = (one.values(), two.values());
                if one.len() == two.len() { cosine(&one, &two) } else { f64::NAN }
            })
            .collect();
        let count = cosines.len();
        let worst = cosines.iter().copied().reduce(|a, b| if a.is_nan() || a < b { a } else { b })?;
        Some(ProbeAgreement { count, worst, mean: cosines.iter().sum::<f64>() / count as f64 })
    }
}

impl Agreement {
    /// Compares two spaces: rules first, then fingerprints, then features.
    pub(super) fn of(one: &Space, two: &Space) -> Agreement {
        let rules = rule_differences(one, two);
        let is_comparable = one.version == two.version;
        let images = one.image.as_ref().zip(two.image.as_ref()).filter(|_| is_comparable);
        let images = images.and_then(|(one, two)| ProbeAgreement::of(&one.probes, &two.probes));
        let texts = one.text.as_ref().zip(two.text.as_ref()).filter(|_| is_comparable);
        let texts = texts.and_then(|(one, two)| ProbeAgreement::of(&one.probes, &two.probes));
        let is_known = one.fingerprint == two.fingerprint && one.has_digests() && two.has_digests();
        let rounding = rounding_of_images(one, two);
        let precision = one.precision.max(two.precision);
        let loosest =
            rounding.as_ref().map_or(precision, |_| precision.max(SpacePrecision::Bf16)).least_cosine();
        let worst = [images, texts].into_iter().flatten().map(|probes| probes.worst);
        let worst = worst.reduce(|a, b| if a.is_nan() || a < b { a } else { b });
        // Even if it shows on no probe, a copy at another precision is a copy.
        let is_as_exact = one.precision == two.precision;
        let exact = SpacePrecision::F32.least_cosine();
        let (verdict, reason) = match worst {
            _ if !rules.is_empty() => (Verdict::Other, None),
            None if is_known => (Verdict::Same, None),
            None => (Verdict::Other, Some(nothing_compared(one, two))),
            Some(worst) if is_known && worst >= loosest || is_as_exact && worst >= exact => {
                (Verdict::Same, None)
            }
            Some(worst) if worst >= loosest => (Verdict::Twin, None),
            Some(worst) if is_known => {
                let reason = format!(
                    "the weights are not those that `clipway.json` states: the smallest cosine is {worst:.6}"
                );
                (Verdict::Other, Some(reason))
            }
            Some(worst) => {
                let what = rounding.as_deref().unwrap_or("the weights");
                (Verdict::Other, Some(format!("{what}: the smallest cosine is {worst:.6}")))
            }
        };
        let mut differences = rules;
        differences.extend(reason);
        if verdict == Verdict::Twin {
            let [a, b] = [one.precision.name(), two.precision.name()];
            if a != b {
                differences.push(format!("precision: {a} against {b}"));
            } else if rounding.is_none() {
                differences.push(format!("weights: both are rounded to {a}, in different ways"));
            }
            differences.extend(rounding);
        }
        Agreement { verdict, least_cosine: loosest, images, texts, differences }
    }

    /// Whether features of both can be compared with each other.
    pub fn fits(&self) -> bool {
        self.verdict != Verdict::Other
    }
}

/// What the rules of width, images and texts differ in.
fn rule_differences(one: &Space, two: &Space) -> Vec<String> {
    let mut found = Vec::new();
    if one.width != two.width {
        found.push(format!("width: {} values against {}", one.width, two.width));
    }
    if let (Some(one), Some(two)) = (&one.image, &two.image) {
        found.extend(one.pixels.differences(&two.pixels));
    }
    if let (Some(one), Some(two)) = (&one.text, &two.text)
        && let (Some(one), Some(two)) = (&one.tokens, &two.tokens)
    {
        found.extend(one.differences(two));
    }
    found
}

/// How two image towers with the same weights round images differently: by the rules of two libraries with the same settings.
fn rounding_of_images(one: &Space, two: &Space) -> Option<String> {
    let (one, two) = one.image.as_ref().zip(two.image.as_ref())?;
    let is_same_tower = one.tower.is_some() && one.tower == two.tower;
    (is_same_tower && one.pixels.rule != two.pixels.rule).then(|| {
        let [a, b] = [&one.pixels.rule, &two.pixels.rule];
        format!("rounding of images: that of {a} against that of {b}")
    })
}

/// Why no features were compared.
fn nothing_compared(one: &Space, two: &Space) -> String {
    if one.version != two.version {
        return format!(
            "their features are of other inputs: version {} against {}",
            one.version, two.version
        );
    }
    "nothing can be compared: they have no tower in common".to_owned()
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            Verdict::Same => "the same space",
            Verdict::Twin => "the same model at another precision",
            Verdict::Other => "another space",
        })?;
        if !self.differences.is_empty() {
            write!(f, ": {}", self.differences.join("; "))?;
        }
        for (what, probes) in [("image", self.images), ("text", self.texts)] {
            let Some(ProbeAgreement { count, worst, mean }) = probes else { continue };
            let plural = if count == 1 { "" } else { "s" };
            write!(f, "; {count} {what}{plural}: worst cosine {worst:.6}, mean {mean:.6}")?;
        }
        Ok(())
    }
}
