//! What the engine runs: a model that takes batches of prepared inputs.

use clipway_run::clip::{Clip, ClipError};
use clipway_run::image::{Image, Samples};

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An image.
    Image,
    /// A text.
    Text,
}

impl Kind {
    /// Both kinds.
    pub const ALL: [Kind; 2] = [Kind::Image, Kind::Text];

    /// Name in metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Text => "text",
        }
    }
}

/// An input that is ready for a tower.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepared {
    /// Normalized pixels, `[3, height, width]`.
    Pixels(Vec<f32>),
    /// Token ids, `[context]`.
    Tokens(Vec<i64>),
}

impl Prepared {
    /// What the input is.
    pub fn kind(&self) -> Kind {
        match self {
            Prepared::Pixels(_) => Kind::Image,
            Prepared::Tokens(_) => Kind::Text,
        }
    }
}

/// A model as the engine sees it. A row's features must not depend on the rest of its batch.
pub trait Model: Send + Sync + 'static {
    /// Number of values in a feature.
    fn width(&self) -> usize;

    /// Features of images `[images, width]`, from pixels `[images, 3, height, width]`.
    ///
    /// # Errors
    /// An image that gives a feature with NaN or infinity, or a model without an image tower.
    fn images(&self, pixels: &[f32]) -> Result<Vec<f32>, ClipError>;

    /// Features of texts `[texts, width]`, from token ids `[texts, context]`.
    ///
    /// # Errors
    /// A text that gives a feature with NaN or infinity, or a model without a text tower.
    fn texts(&self, ids: &[i64]) -> Result<Vec<f32>, ClipError>;

    /// An input of a kind that is always the same; `None` if the model does not take that kind.
    fn sample(&self, kind: Kind) -> Option<Prepared>;
}

/// Side of the image that is always the same, in pixels.
const SIDE: usize = 32;

impl Model for Clip {
    fn width(&self) -> usize {
        self.embed_dim()
    }

    fn images(&self, pixels: &[f32]) -> Result<Vec<f32>, ClipError> {
        self.encode_pixels(pixels)
    }

    fn texts(&self, ids: &[i64]) -> Result<Vec<f32>, ClipError> {
        self.encode_tokens(ids)
    }

    fn sample(&self, kind: Kind) -> Option<Prepared> {
        match kind {
            Kind::Image if self.has_image_tower() => {
                // A pattern that no row repeats.
                let samples =
                    Samples::Rgb((0..3 * SIDE * SIDE).map(|index| (index * 7919 % 251) as u8).collect());
                let (orientation, transparency) = (None, None);
                let image = Image { width: SIDE, height: SIDE, orientation, transparency, samples };
                self.pixels("the self-test", &image).ok().map(Prepared::Pixels)
            }
            Kind::Text if self.has_text_tower() && self.has_tokenizer() => {
                self.tokens(&["a photo of a cat"]).ok().map(|encoded| Prepared::Tokens(encoded.ids))
            }
            _ => None,
        }
    }
}

/// Features of inputs of one kind in one pass, `[inputs, width]`.
pub(super) fn together(model: &dyn Model, inputs: &[&Prepared]) -> Result<Vec<f32>, ClipError> {
    let (mut pixels, mut ids) = (Vec::new(), Vec::new());
    for input in inputs {
        match input {
            Prepared::Pixels(values) => pixels.extend_from_slice(values),
            Prepared::Tokens(values) => ids.extend_from_slice(values),
        }
    }
    if pixels.is_empty() { model.texts(&ids) } else { model.images(&pixels) }
}
