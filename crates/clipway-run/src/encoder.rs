//! A model's two towers, as seen by everything that uses features.
//!
//! Verification, zero-shot classification, retrieval and serving all use [`Encoder`]: what is verified is what is
//! served.

use crate::tower::{Intermediate, Tower, TowerBatch, TowerDescription, TowerError, TowerInput};

/// A model's scalars besides its towers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderSettings {
    /// Factor applied to the cosines: the exponential of the checkpoint's `logit_scale`; 1 if a source of one tower has
    /// none.
    pub logit_scale: f32,
    /// Value added to the logits, in models trained with the sigmoid loss.
    pub logit_bias: Option<f32>,
    /// Number of values in a feature.
    pub embed_dim: usize,
}

/// A description of an [`Encoder`], for people and for JSON.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EncoderDescription {
    /// Number of values in a feature.
    pub embed_dim: usize,
    /// The image tower, if loaded.
    pub image: Option<TowerDescription>,
    /// The text tower, if loaded.
    pub text: Option<TowerDescription>,
    /// Factor applied to the cosines.
    pub logit_scale: f32,
    /// Value added to the logits.
    pub logit_bias: Option<f32>,
}

/// An encoder cannot be created, or refuses an input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The encoder was created without this tower.
    #[error("the {tower} tower is not loaded")]
    NoTower {
        /// `image` or `text`.
        tower: &'static str,
    },
    /// A tower is in the other's place.
    #[error("expected the {tower} tower, found the other one")]
    WrongTower {
        /// `image` or `text`.
        tower: &'static str,
    },
    /// A tower's features do not match the model.
    #[error("{tower} tower: expected features of {expected} values, found {found}")]
    FeatureWidth {
        /// `image` or `text`.
        tower: &'static str,
        /// The model's embedding width.
        expected: usize,
        /// Number of values in a feature of the tower.
        found: usize,
    },
    /// A feature contains NaN or infinity: the weights or intermediate values are broken.
    #[error("{input} {index}: value {position} of its feature is {value}")]
    NotFinite {
        /// What was encoded: `image` or `text`.
        input: &'static str,
        /// Index of the first such input in the call.
        index: usize,
        /// Index of the first such value in its feature.
        position: usize,
        /// The value.
        value: f32,
    },
    /// The backend refused.
    #[error(transparent)]
    Tower(#[from] TowerError),
}

impl EncoderError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            EncoderError::NoTower { .. } | EncoderError::WrongTower { .. } => "missing",
            EncoderError::FeatureWidth { .. } => "shape-mismatch",
            EncoderError::NotFinite { .. } => "not-finite",
            EncoderError::Tower(error) => error.code(),
        }
    }
}

/// The towers of a model; one may be absent.
#[derive(Debug)]
pub struct Encoder {
    image: Option<Box<dyn Tower>>,
    text: Option<Box<dyn Tower>>,
    settings: EncoderSettings,
}

impl Encoder {
    /// Combines towers.
    ///
    /// # Errors
    /// A tower whose feature width is not `embed_dim`, or that is in the other's place.
    pub fn new(
        image: Option<Box<dyn Tower>>,
        text: Option<Box<dyn Tower>>,
        settings: EncoderSettings,
    ) -> Result<Encoder, EncoderError> {
        for (tower, backend) in [("image", &image), ("text", &text)] {
            let Some(backend) = backend else { continue };
            let TowerDescription { input, width: found, .. } = backend.describe();
            if input.tower() != tower {
                return Err(EncoderError::WrongTower { tower });
            }
            let expected = settings.embed_dim;
            if found != expected {
                return Err(EncoderError::FeatureWidth { tower, expected, found });
            }
        }
        Ok(Encoder { image, text, settings })
    }

    /// The scalars of the model.
    pub fn settings(&self) -> &EncoderSettings {
        &self.settings
    }

    /// The image tower's input, if loaded.
    pub fn image_input(&self) -> Option<TowerInput> {
        self.image.as_ref().map(|tower| tower.describe().input)
    }

    /// The text tower's input, if loaded.
    pub fn text_input(&self) -> Option<TowerInput> {
        self.text.as_ref().map(|tower| tower.describe().input)
    }

    /// Computes image features `[batch, embed_dim]` from normalized pixels `[batch, 3, height, width]`, like
    /// open_clip's `encode_image` by default.
    ///
    /// # Errors
    /// A missing image tower, pixels that are not whole images, or a feature that is not finite.
    pub fn encode_image(&self, pixels: &[f32]) -> Result<Vec<f32>, EncoderError> {
        let features = self.image_tower()?.features(TowerBatch::Pixels(pixels))?;
        self.finished("image", features)
    }

    /// Computes text features `[batch, embed_dim]` from token ids `[batch, length]`, like open_clip's `encode_text` by
    /// default.
    ///
    /// # Errors
    /// A missing text tower, ids that are not whole texts, an id outside the vocabulary, or a feature that is not
    /// finite.
    pub fn encode_text(&self, ids: &[i64], length: usize) -> Result<Vec<f32>, EncoderError> {
        let features = self.text_tower()?.features(TowerBatch::Tokens { ids, length })?;
        self.finished("text", features)
    }

    /// Computes intermediate values of the image tower by name; none unless it was prepared for them.
    ///
    /// # Errors
    /// A missing image tower, or pixels that it refuses.
    pub fn image_intermediates(&self, pixels: &[f32]) -> Result<Vec<Intermediate>, EncoderError> {
        Ok(self.image_tower()?.intermediates(TowerBatch::Pixels(pixels))?)
    }

    /// Computes intermediate values of the text tower by name; none unless it was prepared for them.
    ///
    /// # Errors
    /// A missing text tower, or ids that it refuses.
    pub fn text_intermediates(&self, ids: &[i64], length: usize) -> Result<Vec<Intermediate>, EncoderError> {
        Ok(self.text_tower()?.intermediates(TowerBatch::Tokens { ids, length })?)
    }

    /// Describes the encoder.
    pub fn describe(&self) -> EncoderDescription {
        let described = |tower: &Option<Box<dyn Tower>>| tower.as_ref().map(|tower| tower.describe());
        EncoderDescription {
            embed_dim: self.settings.embed_dim,
            image: described(&self.image),
            text: described(&self.text),
            logit_scale: self.settings.logit_scale,
            logit_bias: self.settings.logit_bias,
        }
    }

    fn image_tower(&self) -> Result<&dyn Tower, EncoderError> {
        self.image.as_deref().ok_or(EncoderError::NoTower { tower: "image" })
    }

    fn text_tower(&self) -> Result<&dyn Tower, EncoderError> {
        self.text.as_deref().ok_or(EncoderError::NoTower { tower: "text" })
    }

    /// Checks features, once for every user, and scales them to length 1 if the model does.
    fn finished(&self, input: &'static str, features: Vec<f32>) -> Result<Vec<f32>, EncoderError> {
        let width = self.settings.embed_dim;
        if let Some(at) = features.iter().position(|value| !value.is_finite()) {
            let (index, position) = (at / width, at % width);
            return Err(EncoderError::NotFinite { input, index, position, value: features[at] });
        }
        Ok(features)
    }
}

/// Divides each row of `width` values by its length, or by 1e-12 if that is larger, like
/// `torch.nn.functional.normalize`.
pub fn normalize(features: &mut [f32], width: usize) {
    for row in features.chunks_exact_mut(width.max(1)) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        // Written so that NaN stays NaN.
        let length = if length < 1e-12 { 1e-12 } else { length };
        row.iter_mut().for_each(|value| *value /= length);
    }
}
