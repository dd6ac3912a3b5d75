//! Zero-shot classification: labels become class embeddings, and images are scored against them.
//!
//! Follows Radford et al., *Learning Transferable Visual Models From Natural Language Supervision* (2021), section
//! 3.1.4: each label is inserted into every prompt template, and a class embedding is the normalized mean of the
//! normalized text features.

use serde::Serialize;

use crate::encoder::normalize;

/// Fills a template: every `{}` becomes the label.
///
/// # Errors
/// A template without `{}`, which would give the same text for every label.
pub fn fill_template(template: &str, label: &str) -> Result<String, TemplateError> {
    if template.contains("{}") {
        Ok(template.replace("{}", label))
    } else {
        Err(TemplateError { template: template.to_owned() })
    }
}

/// The prompt templates that CLIP was evaluated with on ImageNet: all 80, or the 7 that together do nearly as well.
pub fn imagenet_templates(short: bool) -> impl Iterator<Item = &'static str> {
    const ALL: &str = include_str!("../data/imagenet_prompts.txt");
    const SHORT: &str = include_str!("../data/imagenet_prompts_short.txt");
    if short { SHORT.lines() } else { ALL.lines() }
}

/// A prompt template without a place for the label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template `{template}` has no `{{}}` for the label")]
pub struct TemplateError {
    /// The template.
    pub template: String,
}

/// How scores become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbabilityRule {
    /// Over all labels: models trained with the softmax loss.
    Softmax,
    /// Each label separately: models with a logit bias, trained with the sigmoid loss.
    Sigmoid,
}

/// One label's score for an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Index of the label.
    pub label: usize,
    /// Probability, from 0 to 1.
    pub probability: f32,
    /// Cosine between the image's and the label's embeddings.
    pub cosine: f32,
}

/// Class embeddings with the model's temperature.
#[derive(Clone, Debug)]
pub struct Classifier {
    classes: Vec<f32>,
    width: usize,
    scale: f32,
    bias: Option<f32>,
}

impl Classifier {
    /// Builds class embeddings from text features `[labels, templates, width]`, not necessarily normalized; `scale` is
    /// the factor applied to cosines (the exponential of `logit_scale`).
    ///
    /// # Panics
    /// If the features are not `templates · width` values per label.
    pub fn new(
        features: &[f32],
        templates: usize,
        width: usize,
        scale: f32,
        bias: Option<f32>,
    ) -> Classifier {
        assert!(templates > 0 && width > 0 && features.len().is_multiple_of(templates * width));
        let mut classes = Vec::with_capacity(features.len() / templates);
        for label in features.chunks_exact(templates * width) {
            let mut sum = vec![0.0_f32; width];
            let mut rows = label.to_vec();
            normalize(&mut rows, width);
            for row in rows.chunks_exact(width) {
                sum.iter_mut().zip(row).for_each(|(s, r)| *s += r);
            }
            normalize(&mut sum, width);
            classes.extend_from_slice(&sum);
        }
        Classifier { classes, width, scale, bias }
    }

    /// A classifier of class embeddings `[labels, width]`, each of length 1, as [`Classifier::classes`] gives them.
    ///
    /// # Panics
    /// If the embeddings are not `width` values per label.
    pub fn of_classes(classes: Vec<f32>, width: usize, scale: f32, bias: Option<f32>) -> Classifier {
        assert!(width > 0 && classes.len().is_multiple_of(width));
        Classifier { classes, width, scale, bias }
    }

    /// The embeddings of the labels, `[labels, width]`, each of length 1.
    pub fn classes(&self) -> &[f32] {
        &self.classes
    }

    /// Logits of one image's features `[width]`, in the order of the labels.
    ///
    /// # Panics
    /// If the features are not `width` values.
    pub fn logits(&self, image: &[f32]) -> Vec<f32> {
        self.cosines(image).into_iter().map(|cosine| self.logit(cosine)).collect()
    }

    fn logit(&self, cosine: f32) -> f32 {
        cosine * self.scale + self.bias.unwrap_or(0.0)
    }

    fn cosines(&self, image: &[f32]) -> Vec<f32> {
        assert_eq!(image.len(), self.width, "features of another width");
        let mut image = image.to_vec();
        normalize(&mut image, self.width);
        let classes = self.classes.chunks_exact(self.width);
        classes.map(|class| class.iter().zip(&image).map(|(c, i)| c * i).sum()).collect()
    }

    /// How this classifier makes probabilities.
    pub fn rule(&self) -> ProbabilityRule {
        if self.bias.is_some() { ProbabilityRule::Sigmoid } else { ProbabilityRule::Softmax }
    }

    /// Scores one image's features `[width]`, best label first; ties are in label order.
    ///
    /// # Panics
    /// If the features are not `width` values.
    pub fn scores(&self, image: &[f32]) -> Vec<Score> {
        let cosines = self.cosines(image);
        let logits: Vec<f32> = cosines.iter().map(|cosine| self.logit(*cosine)).collect();
        let probabilities = match self.rule() {
            ProbabilityRule::Softmax => softmax(&logits),
            ProbabilityRule::Sigmoid => logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        };
        let mut scores: Vec<Score> = (probabilities.iter().zip(&cosines).enumerate())
            .map(|(label, (&probability, &cosine))| Score { label, probability, cosine })
            .collect();
        scores.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        scores
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_averaged_after_normalizing() {
        // Two templates of very different lengths have the same weight: the class is between them, at 45 degrees.
        let classifier = Classifier::new(&[10.0, 0.0, 0.0, 0.1, -1.0, 0.0, -1.0, 0.0], 2, 2, 2.0, None);
        let scores = classifier.scores(&[3.0, 3.0]);
        assert_eq!(scores[0].label, 0);
        assert!((scores[0].cosine - 1.0).abs() < 1e-6 && (scores[1].cosine + 0.5_f32.sqrt()).abs() < 1e-6);
        let expected = 1.0 / (1.0 + (2.0 * (-0.5_f32.sqrt() - 1.0)).exp());
        assert!((scores[0].probability - expected).abs() < 1e-6);
        assert!((scores[0].probability + scores[1].probability - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_logit_bias_means_a_probability_for_each_label_alone() {
        let classifier = Classifier::new(&[1.0, 0.0, 1.0, 0.0], 1, 2, 1.0, Some(-1.0));
        let scores = classifier.scores(&[1.0, 0.0]);
        assert_eq!(classifier.rule(), ProbabilityRule::Sigmoid);
        assert!(scores.iter().all(|s| (s.probability - 0.5).abs() < 1e-6));
    }

    #[test]
    fn a_template_needs_a_place_for_the_label() {
        assert_eq!(fill_template("a photo of a {}", "cat").unwrap(), "a photo of a cat");
        let error = fill_template("a photo", "cat").unwrap_err();
        assert_eq!(error.to_string(), "template `a photo` has no `{}` for the label");
    }
}
