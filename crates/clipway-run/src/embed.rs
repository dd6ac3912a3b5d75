//! The short way: from bytes and strings to features and labels, in one call.

use rayon::prelude::*;

use crate::clip::{Clip, ClipError};
use crate::image::{DecodeLimits, preprocess};
use crate::zero_shot::{Classifier, Score, TemplateError, fill_template};

/// Images of one pass, which bounds the memory for pixels.
const PASS: usize = 32;

/// The prompt that labels are put into where none is given.
pub const DEFAULT_TEMPLATE: &str = "a photo of a {}";

/// Labels cannot be classified with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// A template has no place for the label.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The model refuses the image or a label.
    #[error(transparent)]
    Clip(#[from] ClipError),
}

impl ClassifyError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            ClassifyError::Template(_) => "bad-option",
            ClassifyError::Clip(error) => error.code(),
        }
    }
}

impl Clip {
    /// Computes the feature of an image from the bytes of its file, `[embed_dim]`, as open_clip's `encode_image`
    /// returns it by default: for most models its length is not 1.
    ///
    /// # Errors
    /// An image that cannot be decoded, a model without image tower, or a feature that is not finite.
    pub fn embed_image(&self, bytes: &[u8]) -> Result<Vec<f32>, ClipError> {
        self.embed_images(&[bytes])
    }

    /// Computes the features of images, `[images, embed_dim]`, row after row, decoding side by side.
    ///
    /// # Errors
    /// As [`Clip::embed_image`]; the first image that is refused is named by its index.
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

    /// Computes the feature of a text, `[embed_dim]`, as open_clip's `encode_text` returns it by default. A text that
    /// is longer than the model's context is truncated.
    ///
    /// # Errors
    /// A model without text tower or tokenizer, or a feature that is not finite.
    pub fn embed_text(&self, text: &str) -> Result<Vec<f32>, ClipError> {
        self.embed_texts(&[text])
    }

    /// Computes the features of texts, `[texts, embed_dim]`, row after row.
    ///
    /// # Errors
    /// As [`Clip::embed_text`].
    pub fn embed_texts<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<f32>, ClipError> {
        Ok(self.encode_texts(texts)?.0)
    }

    /// Makes a classifier of labels, each put into every template in the place of `{}`.
    ///
    /// # Errors
    /// A template without `{}`, and what [`Clip::embed_text`] refuses.
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

    /// Scores labels for an image from the bytes of its file, the best first, with [`DEFAULT_TEMPLATE`]. For many
    /// images make the [`Clip::classifier`] once.
    ///
    /// # Errors
    /// As [`Clip::embed_image`] and [`Clip::embed_text`].
    pub fn classify<L: AsRef<str>>(&self, bytes: &[u8], labels: &[L]) -> Result<Vec<Score>, ClassifyError> {
        let classifier = self.classifier(labels, &[DEFAULT_TEMPLATE])?;
        Ok(classifier.scores(&self.embed_image(bytes)?))
    }
}
