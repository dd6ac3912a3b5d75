//! What a model computes from some inputs, stage by stage.

use clipway_formats::shown;

use super::probes;
use super::report::Rows;
use crate::clip::{Clip, ClipError};
use crate::encoder::normalize;
use crate::image::Image;
use crate::tower::Intermediate;

/// Number of images whose pixels are kept for comparison; further ones are compared only by their features.
const KEPT_PIXELS: usize = 64;

/// Maximum number of images per pass.
const PASS: usize = 32;

/// Maximum bytes of pixels per pass, and of kept pixels, unless a single image has more.
const PIXEL_BYTES: usize = 256 << 20;

/// Images and texts to run a model on.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Their name in the report.
    pub name: String,
    /// Decoded images with their names.
    pub images: Vec<(String, Image)>,
    /// Texts.
    pub texts: Vec<String>,
}

impl Inputs {
    /// What a report calls the built-in images.
    pub const BUILT_IN_IMAGES: &str = "built-in images";
    /// What a report calls the built-in texts.
    pub const BUILT_IN_TEXTS: &str = "built-in texts";

    /// Images and texts built into clipway.
    pub fn built_in() -> Inputs {
        Inputs {
            name: "built-in probes".to_owned(),
            images: probes::images(),
            texts: probes::TEXTS.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Results of one model on [`Inputs`].
#[derive(Clone, Debug)]
pub struct Outputs {
    /// The model, as people know it.
    pub name: String,
    /// Name of the inputs.
    pub inputs: String,
    /// Whether the model has an image tower and a text tower.
    pub towers: [bool; 2],
    /// Number of images.
    pub images: usize,
    /// Number of texts.
    pub texts: usize,
    /// Normalized pixels `[images, 3 · height · width]` of the first images.
    pub pixels: Option<Rows>,
    /// Token ids `[texts, context]`; every id is exact in f32.
    pub tokens: Option<Rows>,
    /// Outputs of blocks by name, if requested.
    pub blocks: Vec<(String, Rows)>,
    /// Image features `[images, width]`, not normalized except by CoCa.
    pub image_features: Option<Rows>,
    /// Text features `[texts, width]`, likewise.
    pub text_features: Option<Rows>,
    /// Logits `[images, texts]`.
    pub logits: Option<Rows>,
}

impl Outputs {
    /// Runs a model, on request with the outputs of its towers' blocks.
    ///
    /// # Errors
    /// Inputs that the model's preprocessing, tokenizer or engine refuses.
    pub fn compute(name: &str, clip: &Clip, inputs: &Inputs, blocks: bool) -> Result<Outputs, ClipError> {
        let mut outputs = Outputs {
            name: name.to_owned(),
            inputs: inputs.name.clone(),
            towers: [clip.has_image_tower(), clip.has_text_tower()],
            images: 0,
            texts: 0,
            pixels: None,
            tokens: None,
            blocks: Vec::new(),
            image_features: None,
            text_features: None,
            logits: None,
        };
        if clip.has_image_tower() && !inputs.images.is_empty() {
            outputs.images(clip, inputs, blocks)?;
        }
        if clip.has_text_tower() && !inputs.texts.is_empty() {
            outputs.texts(clip, inputs, blocks)?;
        }
        if let (Some(images), Some(texts)) = (&outputs.image_features, &outputs.text_features) {
            outputs.logits = Some(logits(images, texts, clip.logit_scale(), clip.logit_bias()));
        }
        Ok(outputs)
    }

    fn images(&mut self, clip: &Clip, inputs: &Inputs, blocks: bool) -> Result<(), ClipError> {
        let mut kept = Vec::new();
        let mut features = Vec::new();
        let width = clip.pixel_values();
        let most = (PIXEL_BYTES / (4 * width)).max(1);
        for pass in inputs.images.chunks(most.min(PASS)) {
            let mut pixels = Vec::with_capacity(pass.len() * width);
            for (name, image) in pass {
                pixels.extend(clip.pixels(name, image)?);
            }
            let named = |index: usize| format!("`{}`", pass[index].0);
            features.extend(clip.encode_pixels(&pixels).map_err(|error| error.naming(named))?);
            if blocks && self.blocks.is_empty() {
                self.blocks.extend(stages(clip.image_intermediates(&pixels)?));
            }
            let room = KEPT_PIXELS.min(most).saturating_sub(kept.len() / width);
            kept.extend_from_slice(&pixels[..pass.len().min(room) * width]);
        }
        self.images = inputs.images.len();
        self.pixels = Some(Rows { values: kept, width });
        self.image_features = Some(Rows { values: features, width: clip.embed_dim() });
        Ok(())
    }

    /// Token ids of the texts to compare, or the reason why there are none for the model.
    fn tokens_of(
        &mut self,
        clip: &Clip,
        inputs: &Inputs,
        vocabulary: usize,
    ) -> Result<Result<Vec<i64>, String>, ClipError> {
        if !clip.has_tokenizer() {
            return Ok(Err("the tokenizer's files are missing".to_owned()));
        }
        let encoded = clip.tokens(&inputs.texts)?;
        let highest = encoded.ids.iter().copied().max().unwrap_or(0);
        if highest >= vocabulary as i64 {
            return Ok(Err(format!(
                "the tokenizer produces ids up to {highest}, but the model has only {vocabulary}"
            )));
        }
        // The padding id is the tokenizer's choice: if it matters, features show it.
        let values = encoded.without_padding().into_iter().map(|id| id as f32).collect();
        self.tokens = Some(Rows { values, width: encoded.context_length });
        Ok(Ok(encoded.ids))
    }

    fn texts(&mut self, clip: &Clip, inputs: &Inputs, blocks: bool) -> Result<(), ClipError> {
        self.texts = inputs.texts.len();
        let input = clip.text_input()?;
        let ids = match self.tokens_of(clip, inputs, input[1])? {
            Ok(ids) => ids,
            Err(why) => {
                self.inputs.push_str(&format!(", with made-up token ids instead of the texts': {why}"));
                probes::token_ids(self.texts, input)
            }
        };
        let quoted = |index: usize| format!("text `{}`", shown(&inputs.texts[index]));
        let features = clip.encode_tokens(&ids).map_err(|error| error.naming(quoted))?;
        if blocks {
            self.blocks.extend(stages(clip.text_intermediates(&ids)?));
        }
        self.text_features = Some(Rows { values: features, width: clip.embed_dim() });
        Ok(())
    }
}

/// The blocks of a tower as stages.
fn stages(blocks: Vec<Intermediate>) -> impl Iterator<Item = (String, Rows)> {
    blocks.into_iter().map(|block| (block.name, Rows { values: block.values, width: block.width }))
}

/// `scale · normalized image · normalized text + bias`, `[images, texts]`.
fn logits(images: &Rows, texts: &Rows, scale: f32, bias: Option<f32>) -> Rows {
    let directions = |rows: &Rows| {
        let mut values = rows.values.clone();
        normalize(&mut values, rows.width);
        values
    };
    let (image_rows, text_rows) = (directions(images), directions(texts));
    let mut values = Vec::new();
    for image in image_rows.chunks_exact(images.width) {
        for text in text_rows.chunks_exact(texts.width) {
            let cosine: f32 = image.iter().zip(text).map(|(i, t)| i * t).sum();
            values.push(scale * cosine + bias.unwrap_or(0.0));
        }
    }
    Rows { width: text_rows.len() / texts.width, values }
}
