//! From bytes and strings to features and labels, in one call.

use rayon::prelude::*;

use crate::clip::{Clip, ClipError};
use crate::image::{DecodeLimits, preprocess};
use crate::zero_shot::{Classifier, Score, TemplateError, fill_template};

/// Number of images per pass, to limit memory for pixels.
const PASS: usize = 32;

/// The default prompt for labels.
pub const DEFAULT_TEMPLATE: &str = "a photo of a {}";

/// A label or an image that cannot be classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// A template without a place for the label.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The model refuses the image or a label.
    #[error(transparent)]
    Clip(#[from] ClipError),
}

impl ClassifyError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ClassifyError::Template(_) => "bad-option",
            ClassifyError::Clip(error) => error.code(),
        }
    }
}

impl Clip {
    /// Computes the feature of an image from its file's bytes, `[embed_dim]`, like open_clip's `encode_image` by
    /// default: for most models, its length is not 1.
    ///
    /// # Errors
    /// An image that cannot be decoded, a model without an image tower, or a feature that is not finite.
    pub fn embed_image(&self, bytes: &[u8]) -> Result<Vec<f32>, ClipError> {
        self.embed_images(&[bytes])
    }

    /// Computes the features of images, `[images, embed_dim]`, one per row, decoding in parallel.
    ///
    /// # Errors
    /// The errors of [`Clip::embed_image`]; the first refused image is named by its index.
    pub fn embed_images<B: AsRef<[u8]> + Sync>(&self, images: &[B]) -> Result<Vec<f32>, ClipError> {
        let (values, limits) = (self.pixel_values(), DecodeLimits::default());
        let mut features = Vec::with_capacity(images.len() * self.embed_dim());
        for (number, pass) in images.chunks(PASS).enumerate() {
            let named = |index: usize| format!("image {}", number * PASS + index);
            let mut pixels = vec![0.0; pass.len() * values];
            pixels.par_chunks_mut(values).zip(pass).enumerate().try_for_each(
                |(index, (pixels, bytes))| {
                    preprocess(bytes.as_ref(), self.preprocess(), &limits, pixels)
                        .map_err(|cause| ClipError::Image { name: named(index), cause })
                },
            )?;
            features.extend(self.encode_pixels(&pixels).map_err(|error| error.naming(named))?);
        }
        Ok(features)
    }

    /// Computes the feature of a text, `[embed_dim]`, like open_clip's `encode_text` by default. A text longer than the
    /// model's context is truncated.
    ///
    /// # Errors
    /// A model without a text tower or tokenizer, or a feature that is not finite.
    pub fn embed_text(&self, text: &str) -> Result<Vec<f32>, ClipError> {
        self.embed_texts(&[text])
    }

    /// Computes the features of texts, `[texts, embed_dim]`, one per row.
    ///
    /// # Errors
    /// The errors of [`Clip::embed_text`].
    pub fn embed_texts<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<f32>, ClipError> {
        Ok(self.encode_texts(texts)?.0)
    }

    /// Builds a classifier from labels, each inserted into every template in place of `{}`.
    ///
    /// # Errors
    /// A template without `{}`, and the errors of [`Clip::embed_text`].
    pub fn classifier<L: AsRef<str>, T: AsRef<str>>(
        &self,
        labels: &[L],
        templates: &[T],
    ) -> Result<Classifier, ClassifyError> {
        let mut prompts = Vec::with_capacity(labels.len() * templates.len());
        for label in labels {
            for template in templates {
                prompts.push(fill_template(template.as_ref(), label.as_ref())?);
            }
        }
        let features = self.embed_texts(&prompts)?;
        let (width, scale) = (self.embed_dim(), self.logit_scale());
        Ok(Classifier::new(&features, templates.len(), width, scale, self.logit_bias()))
    }

    /// Scores labels for an image given as its file's bytes, best first, using [`DEFAULT_TEMPLATE`]. For many images,
    /// build the [`Clip::classifier`] once.
    ///
    /// # Errors
    /// The errors of [`Clip::embed_image`] and [`Clip::embed_text`].
    pub fn classify<L: AsRef<str>>(&self, bytes: &[u8], labels: &[L]) -> Result<Vec<Score>, ClassifyError> {
        let classifier = self.classifier(labels, &[DEFAULT_TEMPLATE])?;
        Ok(classifier.scores(&self.embed_image(bytes)?))
    }
}
