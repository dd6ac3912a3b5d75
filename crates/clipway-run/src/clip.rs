//! A model ready to use: towers with their preprocessing and tokenizer.

use clipway_formats::shown;

use crate::encoder::{Encoder, EncoderDescription, EncoderError};
use crate::image::{Image, ImageError, PixelRule, Preprocess, to_pixels, transform};
use crate::text::{EncodedBatch, Tokenizer, TokenizerError};
use crate::tower::{Intermediate, TowerInput};

/// A model ready to use. Verification, classification and serving all use this type.
pub struct Clip {
    encoder: Encoder,
    preprocess: Preprocess,
    tokenizer: Option<Tokenizer>,
    /// Name of the tokenizer that its config asks for.
    tokenizer_name: Option<String>,
}

/// An input that a model refuses, or a part that it lacks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// An image cannot be preprocessed.
    #[error("`{name}`: {cause}")]
    Image {
        /// The image.
        name: String,
        /// The reason.
        cause: ImageError,
    },
    /// A text cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A feature contains NaN or infinity: the weights or intermediate values are broken.
    #[error("{input}: value {position} of its feature is {value}")]
    NotFinite {
        /// Name of the first such input.
        input: String,
        /// Index of the first such value in its feature.
        position: usize,
        /// The value.
        value: f32,
    },
    /// A tower refuses its input.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The model has no tokenizer.
    #[error("the model has no tokenizer: {} missing from the folder", match name {
        Some(name) => format!("the files of `{}` are", shown(name)),
        None => "its files are".to_owned(),
    })]
    NoTokenizer {
        /// Name of the tokenizer that the config asks for.
        name: Option<String>,
    },
}

impl ClipError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ClipError::Image { cause, .. } => cause.code(),
            ClipError::Tokenizer(error) => error.code(),
            ClipError::NotFinite { .. } => "not-finite",
            ClipError::Encoder(error) => error.code(),
            ClipError::NoTokenizer { .. } => "missing",
        }
    }

    /// Names the input without a feature, using the names of this call's inputs.
    #[must_use]
    pub fn naming(self, name: impl Fn(usize) -> String) -> ClipError {
        match self {
            ClipError::Encoder(EncoderError::NotFinite { index, position, value, .. }) => {
                ClipError::NotFinite { input: name(index), position, value }
            }
            error => error,
        }
    }
}

impl Clip {
    /// Combines parts that belong together.
    pub fn new(encoder: Encoder, preprocess: Preprocess, tokenizer: Option<Tokenizer>) -> Clip {
        Clip { encoder, preprocess, tokenizer, tokenizer_name: None }
    }

    /// The same model with the name of its tokenizer, which errors state where the tokenizer is missing.
    pub fn with_tokenizer_name(self, tokenizer_name: Option<String>) -> Clip {
        Clip { tokenizer_name, ..self }
    }

    /// The same model with another rule for images, as in another library's folder of it.
    pub fn with_pixel_rule(mut self, rule: PixelRule) -> Clip {
        self.preprocess.rule = rule;
        self
    }

    /// The same model, with images rotated by their EXIF orientation or as they are stored.
    pub fn with_orientation(mut self, apply: bool) -> Clip {
        self.preprocess.apply_orientation = apply;
        self
    }

    /// Whether images can be encoded.
    pub fn has_image_tower(&self) -> bool {
        self.encoder.image_input().is_some()
    }

    /// Whether texts can be encoded.
    pub fn has_text_tower(&self) -> bool {
        self.encoder.text_input().is_some()
    }

    /// Describes the towers.
    pub fn describe(&self) -> EncoderDescription {
        self.encoder.describe()
    }

    /// The preprocessing of images.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`ClipError::NoTokenizer`] if the model came without its files.
    pub fn tokenizer(&self) -> Result<&Tokenizer, ClipError> {
        self.tokenizer.as_ref().ok_or_else(|| ClipError::NoTokenizer { name: self.tokenizer_name.clone() })
    }

    /// Whether texts can be tokenized.
    pub fn has_tokenizer(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// Context length and vocabulary size.
    ///
    /// # Errors
    /// A model without a text tower.
    pub fn text_input(&self) -> Result<[usize; 2], ClipError> {
        match self.encoder.text_input() {
            Some(TowerInput::Tokens { context, vocabulary, .. }) => Ok([context, vocabulary]),
            _ => Err(EncoderError::NoTower { tower: "text" }.into()),
        }
    }

    /// Number of values in one image's pixels, `3 · height · width`.
    pub fn pixel_values(&self) -> usize {
        self.preprocess.pixel_values()
    }

    /// Width of the features.
    pub fn embed_dim(&self) -> usize {
        self.encoder.settings().embed_dim
    }

    /// Factor applied to the cosine of image and text: the exponential of the stored `logit_scale`.
    pub fn logit_scale(&self) -> f32 {
        self.encoder.settings().logit_scale
    }

    /// Value added to the logits, in models trained with the sigmoid loss.
    pub fn logit_bias(&self) -> Option<f32> {
        self.encoder.settings().logit_bias
    }

    /// Normalized pixels of an image, `[3, height, width]`.
    ///
    /// # Errors
    /// An image that cannot be preprocessed.
    pub fn pixels(&self, name: &str, image: &Image) -> Result<Vec<f32>, ClipError> {
        let mut pixels = vec![0.0; self.pixel_values()];
        transform(image, &self.preprocess)
            .and_then(|image| to_pixels(&image, &self.preprocess, &mut pixels))
            .map_err(|cause| ClipError::Image { name: name.to_owned(), cause })?;
        Ok(pixels)
    }

    /// Token ids of texts, `[texts, context]`.
    ///
    /// # Errors
    /// A model without a tokenizer, or a text that it refuses.
    pub fn tokens<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<EncodedBatch, ClipError> {
        Ok(self.tokenizer()?.encode_batch(texts)?)
    }

    /// Features of normalized pixels `[batch, 3, height, width]`: `[batch, width]`, not normalized except by CoCa.
    ///
    /// # Errors
    /// A number of values that is not a whole number of images, or a model without an image tower.
    pub fn encode_pixels(&self, pixels: &[f32]) -> Result<Vec<f32>, ClipError> {
        Ok(self.encoder.encode_image(pixels)?)
    }

    /// Features of token ids `[batch, context]`: `[batch, width]`, not normalized except by CoCa.
    ///
    /// # Errors
    /// A number of ids that is not a whole number of texts, an id outside the vocabulary, or a model without a text
    /// tower.
    pub fn encode_tokens(&self, ids: &[i64]) -> Result<Vec<f32>, ClipError> {
        Ok(self.encoder.encode_text(ids, self.text_input()?[0])?)
    }

    /// Features of texts, `[texts, width]`, not normalized except by CoCa, and how many texts were truncated.
    ///
    /// # Errors
    /// The errors of [`Clip::tokens`] and [`Clip::encode_tokens`].
    pub fn encode_texts<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<(Vec<f32>, usize), ClipError> {
        let encoded = self.tokens(texts)?;
        let quoted = |index: usize| format!("text `{}`", shown(texts[index].as_ref()));
        let features = self.encode_tokens(&encoded.ids).map_err(|error| error.naming(quoted))?;
        Ok((features, encoded.truncated))
    }

    /// Intermediate values of the image tower by name; none unless it was loaded with blocks.
    ///
    /// # Errors
    /// The errors of [`Clip::encode_pixels`].
    pub fn image_intermediates(&self, pixels: &[f32]) -> Result<Vec<Intermediate>, ClipError> {
        Ok(self.encoder.image_intermediates(pixels)?)
    }

    /// Intermediate values of the text tower by name; none unless it was loaded with blocks.
    ///
    /// # Errors
    /// The errors of [`Clip::encode_tokens`].
    pub fn text_intermediates(&self, ids: &[i64]) -> Result<Vec<Intermediate>, ClipError> {
        Ok(self.encoder.text_intermediates(ids, self.text_input()?[0])?)
    }
}
