//! A model's two towers, as everything that uses features sees them.
//!
//! Verification, zero-shot classification, retrieval and serving all stand on [`Encoder`]: what is verified is
//! what is served.

use crate::engine::{BlockOutput, Engine, EngineError, TowerInput};

/// The scalars of a model beside its towers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderSettings {
    /// Factor of the cosines: the exponential of the checkpoint's `logit_scale`.
    pub logit_scale: f32,
    /// Added to the logits, in models trained with the sigmoid loss.
    pub logit_bias: Option<f32>,
    /// Values of a feature.
    pub embed_dim: usize,
    /// Whether features leave with length 1, as CoCa's do.
    pub normalize: bool,
}

/// What an [`Encoder`] is, for people and for JSON.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EncoderDescription {
    /// Values of a feature.
    pub embed_dim: usize,
    /// Height and width of the pictures, if the image tower is loaded.
    pub image_size: Option<[usize; 2]>,
    /// Longest text in tokens, if the text tower is loaded.
    pub context_length: Option<usize>,
    /// Number of token ids, if the text tower is loaded.
    pub vocabulary: Option<usize>,
    /// Factor of the cosines.
    pub logit_scale: f32,
    /// Added to the logits.
    pub logit_bias: Option<f32>,
    /// Whether features leave with length 1.
    pub normalize: bool,
    /// Instruction set that the towers run on.
    pub instruction_set: Option<&'static str>,
    /// Threads that the towers run on.
    pub threads: usize,
}

/// The towers of a model, of which one may be absent.
#[derive(Debug)]
pub struct Encoder {
    image: Option<Engine>,
    text: Option<Engine>,
    settings: EncoderSettings,
}

impl Encoder {
    /// Puts compiled towers together.
    ///
    /// # Errors
    /// If a tower gives features of another width than `embed_dim`, or stands in the other's place.
    pub fn new(
        image: Option<Engine>,
        text: Option<Engine>,
        settings: EncoderSettings,
    ) -> Result<Encoder, EngineError> {
        for (tower, engine) in [("image", &image), ("text", &text)] {
            let Some(engine) = engine else { continue };
            if engine.width() != settings.embed_dim {
                let (expected, found) = (settings.embed_dim, engine.width());
                return Err(EngineError::FeatureWidth { tower, expected, found });
            }
            match (tower, engine.input()) {
                ("image", TowerInput::Tokens { .. }) => {
                    return Err(EngineError::WrongInput { expected: "token ids", found: "pixels" });
                }
                ("text", TowerInput::Pixels { .. }) => {
                    return Err(EngineError::WrongInput { expected: "pixels", found: "token ids" });
                }
                _ => {}
            }
        }
        Ok(Encoder { image, text, settings })
    }

    /// The scalars of the model.
    pub fn settings(&self) -> &EncoderSettings {
        &self.settings
    }

    /// The image tower, if it was loaded.
    pub fn image(&self) -> Option<&Engine> {
        self.image.as_ref()
    }

    /// The text tower, if it was loaded.
    pub fn text(&self) -> Option<&Engine> {
        self.text.as_ref()
    }

    /// Computes image features `[batch, embed_dim]` of normalised pixels `[batch, 3, height, width]`, as
    /// open_clip's `encode_image` returns them by default.
    ///
    /// # Errors
    /// If there is no image tower, or the pixels are not whole pictures.
    pub fn encode_image(&self, pixels: &[f32]) -> Result<Vec<f32>, EngineError> {
        let engine = self.image.as_ref().ok_or(EngineError::NoTower { tower: "image" })?;
        Ok(self.finished(engine.run_pixels(pixels)?))
    }

    /// Computes text features `[batch, embed_dim]` of token ids `[batch, length]`, as open_clip's `encode_text`
    /// returns them by default.
    ///
    /// # Errors
    /// If there is no text tower, the ids are not whole texts, or one is outside of the vocabulary.
    pub fn encode_text(&self, ids: &[i64], length: usize) -> Result<Vec<f32>, EngineError> {
        let engine = self.text.as_ref().ok_or(EngineError::NoTower { tower: "text" })?;
        Ok(self.finished(engine.run_tokens(ids, length)?))
    }

    /// Computes the outputs of the image tower's blocks; none unless it was compiled with them.
    ///
    /// # Errors
    /// As [`Encoder::encode_image`].
    pub fn image_blocks(&self, pixels: &[f32]) -> Result<Vec<BlockOutput>, EngineError> {
        let engine = self.image.as_ref().ok_or(EngineError::NoTower { tower: "image" })?;
        Ok(engine.run_pixels_with_blocks(pixels)?.1)
    }

    /// Computes the outputs of the text tower's blocks; none unless it was compiled with them.
    ///
    /// # Errors
    /// As [`Encoder::encode_text`].
    pub fn text_blocks(&self, ids: &[i64], length: usize) -> Result<Vec<BlockOutput>, EngineError> {
        let engine = self.text.as_ref().ok_or(EngineError::NoTower { tower: "text" })?;
        Ok(engine.run_tokens_with_blocks(ids, length)?.1)
    }

    /// Says what the encoder is.
    pub fn describe(&self) -> EncoderDescription {
        let (mut image_size, mut context_length, mut vocabulary) = (None, None, None);
        for engine in self.image.iter().chain(&self.text) {
            match engine.input() {
                TowerInput::Pixels { height, width } => image_size = Some([height, width]),
                TowerInput::Tokens { context, vocabulary: ids, .. } => {
                    context_length = Some(context);
                    vocabulary = Some(ids);
                }
            }
        }
        let processor = self.image.as_ref().or(self.text.as_ref()).map(Engine::processor);
        EncoderDescription {
            embed_dim: self.settings.embed_dim,
            image_size,
            context_length,
            vocabulary,
            logit_scale: self.settings.logit_scale,
            logit_bias: self.settings.logit_bias,
            normalize: self.settings.normalize,
            instruction_set: processor.map(|p| p.instruction_set().name()),
            threads: processor.map_or(0, |p| p.threads()),
        }
    }

    fn finished(&self, mut features: Vec<f32>) -> Vec<f32> {
        if self.settings.normalize {
            normalize(&mut features, self.settings.embed_dim);
        }
        features
    }
}

/// Divides each row of `width` values by its length, or by 1e-12 where that is longer, as
/// `torch.nn.functional.normalize`.
pub fn normalize(features: &mut [f32], width: usize) {
    for row in features.chunks_exact_mut(width.max(1)) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        // Written so that a NaN stays one.
        let length = if length < 1e-12 { 1e-12 } else { length };
        row.iter_mut().for_each(|value| *value /= length);
    }
}
